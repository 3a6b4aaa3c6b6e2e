//! Python with exactly the packages that a person without our programs would install.
//!
//! The environment lies in the target directory and is made once, whichever test comes first: the others wait for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{folder, root};

/// The interpreter of an environment with the packages of `tests/python/requirements.txt`.
///
/// # Panics
/// When there is no Python 3 with pip, or the packages cannot be had.
pub fn interpreter() -> PathBuf {
    let wanted = fs::read_to_string(root().join("tests/python/requirements.txt")).expect("the list of packages");
    let target = folder().parent().expect("a profile lies in the target directory").to_owned();
    let (place, python) = (target.join("python"), target.join("python/bin/python"));
    fs::create_dir_all(&target).expect("the target directory");
    let lock = File::create(target.join("python.lock")).expect("a file in the target directory");
    lock.lock().expect("the lock of the environment");
    let made = place.join("requirements.txt");
    if fs::read_to_string(&made).is_ok_and(|there| there == wanted) {
        return python;
    }
    // Without pip in it, for Debian's Python makes such a one only with a further package; its own pip fills it.
    run(Command::new("python3").args(["-m", "venv", "--clear", "--without-pip"]).arg(&place));
    let asked = Command::new(&python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).output();
    let packages = String::from_utf8(asked.expect("the new interpreter runs").stdout).expect("a path");
    let list = place.join("wanted.txt");
    fs::write(&list, &wanted).expect("a file");
    run(Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages.trim(), "-r"])
        .arg(&list));
    // Last, so that an environment that was not finished is made again.
    fs::rename(&list, &made).expect("a file");
    python
}

/// A script of `tests/python`, or of the examples.
pub fn script(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(Path::new(&path).is_file(), "{} is not there", path.display());
    path
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}
