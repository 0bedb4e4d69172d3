//! The machine and the programs behind the numbers: a number without them says nothing.

use std::path::Path;

use serde::Serialize;

use super::contender::version_line;

/// What stands above the table.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Facts {
    /// `model name` of the first processor.
    pub(super) processor: String,
    /// Processors that this program may use.
    pub(super) cores: usize,
    /// Memory, in GiB.
    pub(super) memory_gib: f64,
    /// Kernel release and build.
    pub(super) kernel: String,
    /// Distribution.
    pub(super) system: String,
    /// The commit that was built, with `+` when files differed from it.
    pub(super) commit: String,
    /// Compiler.
    pub(super) rustc: String,
    /// Load generators.
    pub(super) load: Vec<String>,
    /// What each contender says of itself.
    pub(super) contenders: Vec<String>,
    /// One-minute load average before the first measurement: what else the machine did.
    pub(super) load_average_before: f64,
}

impl Facts {
    /// Reads them; what cannot be read is `unknown`.
    pub(super) fn read(root: &Path, congestion: &str, contenders: Vec<String>) -> Self {
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gib: memory_gib(),
            kernel: line("uname", &["-sr"]),
            system: field("/etc/os-release", "PRETTY_NAME")
                .trim_matches('"')
                .to_owned(),
            commit: commit(root),
            rustc: line("rustc", &["--version"]),
            load: vec![
                format!("{}, TCP with {congestion}", line("iperf3", &["--version"])),
                line("sockperf", &["--version"]),
            ],
            contenders,
            load_average_before: load_average(),
        }
    }

    /// One bullet each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "machine: {}, {} cores, {:.0} GiB, {}, {}",
                self.processor, self.cores, self.memory_gib, self.kernel, self.system
            ),
            format!("build: commit {}, {}", self.commit, self.rustc),
            format!("load: {}", self.load.join(", ")),
            format!("load average before: {:.2}", self.load_average_before),
        ];
        lines.extend(self.contenders.iter().cloned());
        lines
    }
}

/// The one-minute load average.
pub(super) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(f64::NAN)
}

fn line(program: &str, arguments: &[&str]) -> String {
    match version_line(program, arguments) {
        Ok(line) if !line.is_empty() => line,
        Ok(_) | Err(_) => format!("{program} unknown"),
    }
}

/// The value of the first `key: value` or `key=value` line of a file.
fn field(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| {
            let rest = line.strip_prefix(key)?.trim_start();
            let value = rest.strip_prefix([':', '='])?;
            Some(value.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

fn memory_gib() -> f64 {
    let total = field("/proc/meminfo", "MemTotal");
    let kibibytes: f64 = total.trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kibibytes / f64::from(1 << 20)
}

fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(root)
            .args(arguments)
            .output();
        output
            .ok()
            .filter(|o| o.status.success())
            .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let differs =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    format!("{commit}{}", if differs { "+" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_both_shapes_are_read_and_absent_ones_are_unknown() {
        let file = std::env::temp_dir().join(format!("clearway-facts-{}", std::process::id()));
        std::fs::write(&file, "model name\t: A CPU\nPRETTY_NAME=\"An OS\"\n").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(field(path, "model name"), "A CPU");
        assert_eq!(field(path, "PRETTY_NAME"), "\"An OS\"");
        assert_eq!(field(path, "absent"), "unknown");
        std::fs::remove_file(&file).unwrap();
    }
}
