//! A program, measured from the outside (Linux).

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How often the kernel is asked about a program.
const LOOK: Duration = Duration::from_millis(5);

/// What a program took.
pub(crate) struct Taken {
    /// From start to end.
    pub(crate) time: Duration,
    /// Of all its threads, as of the last look.
    pub(crate) cpu: Duration,
    /// The most memory it had, in bytes, as of the last look.
    pub(crate) memory: u64,
    /// Its standard output.
    pub(crate) output: Vec<u8>,
}

/// Runs a program to its end. It has to succeed.
pub(crate) fn measure(command: &mut Command) -> Result<Taken, String> {
    let name = command.get_program().display().to_string();
    let failed = |e: std::io::Error| format!("{name}: {e}");
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came until it broke off is shown.
        drop(output.map(|mut output| std::io::Read::read_to_end(&mut output, &mut bytes)));
        bytes
    });
    let (mut cpu, mut memory) = (Duration::ZERO, 0);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        cpu = processor(child.id()).unwrap_or(cpu);
        memory = peak(child.id()).unwrap_or(memory);
        std::thread::sleep(LOOK);
    };
    let time = started.elapsed();
    let output = reader.join().unwrap_or_default();
    if !status.success() {
        let said = String::from_utf8_lossy(&output);
        return Err(format!("{name} failed ({status}): {said}"));
    }
    Ok(Taken {
        time,
        cpu,
        memory,
        output,
    })
}

/// The most memory of a process, in bytes.
fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Processor time of a process: fields 14 and 15 of its `stat`, in hundredths of a second.
fn processor(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before may have spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}
