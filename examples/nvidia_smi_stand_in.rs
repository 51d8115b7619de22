//! An nvidia-smi for the tests, which lay a copy of it on the program's PATH: it prints what the
//! environment says, as often as `-lms` says.
//!
//! - `STAND_IN_LINES`: one round of its output, word for word; `{n}` is 10000 and the number of the
//!   round.
//! - `STAND_IN_WAY`: `hang` prints nothing, `stall` nothing after four rounds, `die` ends after one
//!   round, `fail` after one on standard error, `slow` begins when there is a file `go` in the folder.
//! - `STAND_IN_FOLDER`: where it leaves `pids`, its process ids, and `rounds`, the number of rounds
//!   that are out.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{self, ExitCode};
use std::thread::sleep;
use std::time::Duration;

const QUERY: [&str; 3] = [
    "--query-gpu=index,uuid,name,memory.total,memory.used,memory.free",
    "--format=csv,noheader,nounits",
    "-lms",
];
/// Whoever left it behind: it does not stay for ever.
const LONGEST: Duration = Duration::from_secs(120);

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let interval = match arguments.as_slice() {
        [query @ .., interval] if query == QUERY => interval.parse().ok(),
        _ => None,
    };
    let Some(interval) = interval.map(Duration::from_millis) else {
        eprintln!("no such query: {arguments:?}");
        return Ok(ExitCode::FAILURE);
    };
    let variable = |name| env::var(name).unwrap_or_default();
    let (folder, lines) = (variable("STAND_IN_FOLDER"), variable("STAND_IN_LINES"));
    let folder = Path::new(&folder);
    let mut pids = OpenOptions::new().append(true).create(true).open(folder.join("pids"))?;
    writeln!(pids, "{}", process::id())?;
    let way = variable("STAND_IN_WAY");
    match way.as_str() {
        "hang" => sleep(LONGEST),
        "slow" => {
            while !folder.join("go").exists() {
                sleep(Duration::from_millis(5));
            }
        }
        "fail" => {
            eprintln!("{lines}");
            return Ok(ExitCode::FAILURE);
        }
        "die" => {
            round(&lines, 1)?;
            return Ok(ExitCode::FAILURE);
        }
        _ => {}
    }
    let rounds = LONGEST.as_millis() / interval.as_millis().max(1);
    for n in 1..=rounds {
        round(&lines, n)?;
        fs::write(folder.join("rounds"), n.to_string())?;
        sleep(if way == "stall" && n == 4 { LONGEST } else { interval });
    }
    Ok(ExitCode::SUCCESS)
}

fn round(lines: &str, n: u128) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", lines.replace("{n}", &(10_000 + n).to_string()))?;
    output.flush()
}
