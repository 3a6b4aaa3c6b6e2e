//! One run of the server, from its start to its end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::binary::binary;
use super::config::Config;
use super::log::Log;

/// A server that is ready.
pub(super) struct Process {
    // Dropped first: once its pid is free again, nothing may be left that wants to kill it.
    leash: Leash,
    child: Child,
    log: Arc<Log>,
}

/// Why one did not start.
pub(super) enum Trouble {
    /// Somebody else listens there.
    PortTaken,
    /// Anything else, with its log.
    Failed(String),
}

impl Process {
    /// Starts it and waits until it takes connections.
    pub(super) fn start(config: &Config, folder: &Path, port: u16) -> Result<Self, Trouble> {
        let mut command = Command::new(binary());
        command.args(config.arguments(folder, port)).envs(config.variables());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|why| Trouble::Failed(format!("{}: {why}", binary().display())))?;
        let log = Log::read(child.stderr.take().expect("it is piped"));
        let process = Self { leash: Leash::on(child.id()), child, log };
        let Err(why) = process.log.wait_for("Server is ready") else { return Ok(process) };
        Err(if why.contains("address already in use") {
            Trouble::PortTaken
        } else {
            Trouble::Failed(format!("nats-server did not start: {why}"))
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// Ends it at once.
    pub(super) fn kill(self) {
        drop(self);
    }

    /// Asks it to stop, and waits for that.
    pub(super) fn terminate(self) {
        signal(self.pid(), "TERM");
        assert!(self.log.wait_for_end(), "nats-server did not stop: {}", self.log.lines().join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.leash.let_go();
        // Refused only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
///
/// # Panics
/// When there is no such process.
pub(super) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "process {pid} got no SIG{name}");
}

/// Whether every thread of a process has stopped, or there is none any more. Where the system does not say so, it has.
pub(super) fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which stands in brackets and may hold any.
        stat.rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().next())
            .is_none_or(|state| "TtZX".contains(state))
    })
}

/// Kills a process when ours ends, in whatever way: no destructor runs in a test that is killed for taking too long.
/// A shell waits for the end of a pipe that only we hold.
struct Leash(Child);

impl Leash {
    fn on(pid: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r end; kill -KILL \"$0\" 2>&-", &pid.to_string()]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // It must outlive a signal that goes to all of our group.
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        Self(shell.spawn().expect("there is a shell"))
    }

    fn let_go(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
