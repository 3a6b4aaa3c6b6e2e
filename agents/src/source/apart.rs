//! PDFs, each read by a process of its own.
//!
//! A PDF of some hundred bytes can have its reader overflow the stack (a form that shows itself) or fill all memory (a
//! font of four thousand million characters, a stream that unpacks without end), and neither can be caught within a
//! process. Looking for such files first would take another reader that is right about all of them. So a program reads
//! PDFs in processes of itself, bounded by the system: what goes wrong there ends such a process and skips the file.
//!
//! A process can only be read in if the program's `main` knows of it, see [`read_apart`]. Where it does not, PDFs that
//! the program's own user names are read within it, and those of others are refused.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

use super::guard::{Readers, STACK, guarded};
use super::{Limits, Passage, pdf};

/// Memory that the process which reads a PDF may have, program and stack included, in bytes: 1 GiB. Held on Linux.
pub const PDF_MEMORY: u64 = 1 << 30;
/// What a PDF may say, with all that is said about it, in bytes: 64 MiB.
pub const PDF_TEXT: u64 = 64 << 20;

/// What this program is called with when it shall read a PDF.
const ASKED: &str = "callboard-read-pdf";

/// Whether `main` would know what is wanted of it.
static IS_READ_APART: AtomicBool = AtomicBool::new(false);
static PDFS: Readers = Readers::new();

/// What a reader says.
type Said = Result<Vec<Passage>, String>;

/// Has PDFs read by processes of this program, so that none can take it down. To be called first in `main`: in a process
/// that was started to read a PDF it does that, and gives the exit code that `main` is to end with, and with nothing else.
///
/// Without this call a program reads only PDFs that are its user's own, and reads them itself. The command line calls it.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use callboard_agents::source::read_apart;
///
/// fn main() -> ExitCode {
///     if let Some(read) = read_apart() {
///         return read;
///     }
///     // Whatever the program is for.
///     ExitCode::SUCCESS
/// }
/// ```
#[must_use = "a process that has read a PDF is to end"]
pub fn read_apart() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next().as_deref() != Some(OsStr::new(ASKED)) {
        IS_READ_APART.store(true, Ordering::Relaxed);
        return None;
    }
    let seconds = words.next().and_then(|word| word.to_str()?.parse().ok());
    let done = seconds.ok_or(io::ErrorKind::InvalidInput.into()).and_then(read_one);
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads the PDF on standard input, and says on standard output what is in it.
fn read_one(seconds: u64) -> io::Result<()> {
    bound(seconds)?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let thread = Builder::new().stack_size(STACK).spawn(move || pdf::passages(&bytes))?;
    let read: Said = thread.join().unwrap_or_else(|_| Err("broken PDF".to_owned()));
    let mut said = io::stdout().lock();
    said.write_all(&serde_json::to_vec(&read)?)?;
    said.flush()
}

/// Has the system hold this process to what a reader may take. Whoever started it may be gone before it ends.
#[cfg(target_os = "linux")]
fn bound(seconds: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // Where memory is short for all, the system takes it from this process first; it may forbid that, and then does not.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    for (what, most) in [(Resource::As, PDF_MEMORY), (Resource::Cpu, seconds), (Resource::Core, 0)] {
        let most = Some(getrlimit(what).maximum.map_or(most, |allowed| allowed.min(most)));
        setrlimit(what, Rlimit { current: most, maximum: most })?;
    }
    Ok(())
}

/// Elsewhere it is held to its time by who started it.
#[cfg(not(target_os = "linux"))]
fn bound(_: u64) -> io::Result<()> {
    Ok(())
}

/// The paragraphs of a PDF.
///
/// # Errors
/// When it is broken, has no text, or would take more than it may; when it is not this program's own and could take the
/// program down.
pub(super) fn passages(bytes: Vec<u8>, limits: &Limits) -> Said {
    if IS_READ_APART.load(Ordering::Relaxed) {
        let reader = reader(limits).map_err(|error| format!("no process to read the PDF: {}", error.kind()))?;
        return ask(reader, bytes, limits);
    }
    if limits.only_public {
        return Err("PDF of others, and this program has no reader apart for it".to_owned());
    }
    guarded(PDFS.place("PDF", limits.parse)?, "PDF", limits.parse, move || pdf::passages(&bytes))
}

/// This program, as a process that reads a PDF.
fn reader(limits: &Limits) -> io::Result<Command> {
    // The program as it runs, also when another was put in its place.
    let program = if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? };
    let mut reader = Command::new(program);
    reader.arg(ASKED).arg(limits.parse.as_secs().saturating_add(1).to_string());
    Ok(reader)
}

/// What a reader says of a PDF. It has ended when this returns.
fn ask(reader: Command, bytes: Vec<u8>, limits: &Limits) -> Said {
    let place = PDFS.place("PDF", limits.parse)?;
    let (mut reader, input, output) =
        start(reader).map_err(|error| format!("no process to read the PDF: {}", error.kind()))?;
    let told = guarded(place, "PDF", limits.parse, move || Ok(talk(input, output, &bytes)));
    // One that has ended only leaves its entry.
    let _ = reader.kill();
    let _ = reader.wait();
    let told = told?;
    if told.len() as u64 > PDF_TEXT {
        return Err(format!("PDF with more than {PDF_TEXT} bytes of text"));
    }
    let ended = |_| format!("broken PDF, or it takes more than {} GiB to read", PDF_MEMORY >> 30);
    serde_json::from_slice::<Said>(&told).map_err(ended)?
}

fn start(mut reader: Command) -> io::Result<(Child, ChildStdin, ChildStdout)> {
    reader.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // What a terminal sends to all of a group is for the program, which may yet finish what it has begun.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut reader, 0);
    let mut reader = reader.spawn()?;
    let pipes = reader.stdin.take().zip(reader.stdout.take());
    let (input, output) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((reader, input, output))
}

/// Gives a reader its PDF, and what it says, cut behind all that it may say. One that ended in between said nothing.
fn talk(mut input: ChildStdin, output: ChildStdout, bytes: &[u8]) -> Vec<u8> {
    let _ = input.write_all(bytes);
    drop(input);
    let mut told = Vec::new();
    let _ = output.take(PDF_TEXT + 1).read_to_end(&mut told);
    told
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_that_cannot_be_bounded_reads_no_pdf_of_others() {
        // As in any program whose `main` does not ask: here it is that of the test harness.
        let broken = b"%PDF-1.4 and no more".to_vec();
        let own = passages(broken.clone(), &Limits::default()).expect_err("broken");
        assert!(own.starts_with("broken PDF"), "{own}");
        let others = passages(broken, &Limits { only_public: true, ..Limits::default() });
        assert_eq!(others, Err("PDF of others, and this program has no reader apart for it".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn a_reader_that_says_too_much_or_nothing_or_goes_on_is_ended() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let ask = |script: &str, parse| {
            let mut reader = Command::new("sh");
            reader.args(["-c", script]).current_dir(folder.path());
            super::ask(reader, vec![b'%'; 1 << 20], &Limits { parse, ..Limits::default() })
        };
        let limit = Duration::from_secs(60);
        assert_eq!(ask(r#"cat > pdf; echo '{"Err":"PDF without text"}'"#, limit), Err("PDF without text".to_owned()));
        assert_eq!(std::fs::read(folder.path().join("pdf")).expect("a file").len(), 1 << 20);
        let ended = Err("broken PDF, or it takes more than 1 GiB to read".to_owned());
        assert_eq!(ask("exit 1", limit), ended);
        assert_eq!(ask("cat > pdf; kill -9 $$", limit), ended);
        let endless = ask("cat > pdf; exec cat /dev/zero", limit);
        assert_eq!(endless, Err("PDF with more than 67108864 bytes of text".to_owned()));
        // It has said its number long before its time is over, and is gone when it is.
        let late = ask("cat > pdf; echo $$ > number; exec sleep 600", Duration::from_secs(3));
        assert_eq!(late, Err("PDF not read within 3 s".to_owned()));
        let number = std::fs::read_to_string(folder.path().join("number")).expect("a number");
        let alive = Command::new("kill").args(["-0", number.trim()]).stderr(Stdio::null()).status().expect("kill");
        assert!(!alive.success(), "{number} is still there");
    }
}
