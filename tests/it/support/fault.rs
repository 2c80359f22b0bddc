//! Faults of the system, injected from outside by strace.

use std::path::PathBuf;
use std::process::Command;

use super::Setup;

/// The server's command under strace, with faults as `strace(1)` writes them, such
/// as `trace=fdatasync` and `inject=fdatasync:error=EIO:when=3+`.
///
/// The tracer is detached: the process that is started is the server itself.
/// `paths` limits it to calls on these files, where there are any.
pub fn strace(setup: &Setup, faults: &[&str], paths: &[PathBuf]) -> Command {
    must_work();
    let server = setup.command(&["serve"]);
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o"]).arg(setup.path("strace.txt"));
    for fault in faults {
        command.args(["-e", fault]);
    }
    for path in paths {
        command.arg("-P").arg(path);
    }
    command.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

/// What a test needs of the machine, or nothing where it cannot be had: that is said loudly, and
/// is a failure where everything has to be tested (`IMSERVER_TEST_FAULTS=required`).
pub fn or_not_tested<T>(needed: Result<T, String>) -> Option<T> {
    let why = match needed {
        Ok(needed) => return Some(needed),
        Err(why) => format!("\n*** NOT TESTED: {why} ***\n"),
    };
    match std::env::var("IMSERVER_TEST_FAULTS").as_deref() {
        Err(_) => eprintln!("{why}"),
        Ok("required") => panic!("{why}\nIMSERVER_TEST_FAULTS says that it has to be tested."),
        Ok(other) => {
            panic!("{why}\nIMSERVER_TEST_FAULTS is \"required\" or nothing, not {other:?}.")
        }
    }
    None
}

/// Fails with what to do: these tests are not to be skipped quietly.
fn must_work() {
    let trial = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    match trial {
        Err(error) => panic!(
            "strace cannot be run ({error}). Install it (`apt-get install strace`; scripts/test \
             does it by itself): without it nobody checks that success waits for the disk"
        ),
        Ok(output) if !output.status.success() => panic!(
            "strace may not trace here: {}. Allow ptrace (in a container: the capability \
             SYS_PTRACE; on a host: kernel.yama.ptrace_scope below 3)",
            String::from_utf8_lossy(&output.stderr)
        ),
        Ok(_) => {}
    }
}
