//! Paths that a person typed.

use std::path::Path;

use callboard::broker::problem::nearest;

/// How many names of a folder are compared, and how many are offered.
const COMPARED: usize = 1_000;
const OFFERED: usize = 5;

/// The names that are where a missing one was looked for, nearest first, as they would be typed.
pub(crate) fn nearby(path: &Path, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let found = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().take(COMPARED).flatten();
    let mut names: Vec<String> = found.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.') && fits(name));
    names.sort();
    let typed = |name: String| folder.map_or(name.clone(), |folder| folder.join(name).display().to_string());
    nearest(&wanted, names).into_iter().take(OFFERED).map(typed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_offered_as_it_would_be_typed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["flow.toml", "flaw.md", ".hidden.toml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = nearby(&folder.path().join("flwo.toml"), |name| name.ends_with(".toml"));
        assert_eq!(found, [folder.path().join("flow.toml").display().to_string()]);
        assert!(nearby(Path::new("/nowhere/at/all"), |_| true).is_empty());
    }
}
