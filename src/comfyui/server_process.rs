//! `ComfyUI` as a process that we start: its command, its environment, and what it prints.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::fs::{open_to_append, read_part};
use crate::process::{self, Wait};
use crate::sanitize::{sanitize_line, shortened};
use crate::sleep;

/// What is read of its output at a time; of more than four times as much the middle is passed over.
const CHUNK: u64 = 256 << 10;
/// A longer file is cut.
const LONGEST_LOG: u64 = 100 << 20;
/// A longer line is quoted in part.
const LONGEST_QUOTE: usize = 160;
/// An error further back than so many lines is not what it said last; a dump of threads may follow one.
const LATEST_LINES: usize = 100;
/// The session's name for `ComfyUI-Manager`, a path beside the log.
const SESSION: &str = "comfyui-session";

/// A command that starts `ComfyUI`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartCommand {
    /// As the user wrote it.
    pub text: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
}

impl StartCommand {
    /// An existing file, started in its own folder; else a command line, split at spaces outside
    /// double quotes, started in the folder of its program, or in `root` where it names none.
    ///
    /// # Errors
    /// It is empty, or a quote has no end.
    pub fn parse(text: &str, root: &Path) -> Result<Self, String> {
        let file = std::path::absolute(text.trim()).ok().filter(|file| file.is_file());
        let words = match &file {
            Some(file) => vec![file.to_string_lossy().into_owned()],
            None => split(text)?,
        };
        let (program, arguments) =
            words.split_first().filter(|(program, _)| !program.is_empty()).ok_or("it is empty")?;
        let has_folder = program.contains(['/', '\\']);
        let program = match std::path::absolute(program) {
            Ok(path) if has_folder => path,
            _ => program.into(),
        };
        let folder = program.parent().filter(|_| has_folder).unwrap_or(root).to_owned();
        let arguments = arguments.iter().map(Into::into).collect();
        Ok(StartCommand { text: text.trim().to_owned(), program, arguments, folder })
    }
}

/// The words of a command line.
fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in text.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            letter if letter.is_whitespace() && !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    if quoted {
        return Err("a double quote has no end".into());
    }
    words.extend(word);
    Ok(words)
}

/// A `ComfyUI` that we started, or that a killed run of ours did. Dropping it ends it by force.
#[derive(Debug)]
pub struct ServerProcess {
    /// None of one that a killed run started.
    child: Option<Child>,
    /// Its process id, and that of its group.
    pub id: u32,
    /// When it started, as the system has it.
    pub start: Option<u64>,
    /// What it prints.
    pub output: Output,
    /// Once it has ended, its exit code where that is known.
    pub exit_code: Option<i32>,
    is_left: bool,
}

/// How [`ServerProcess::look`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    /// It has ended, with this exit code where that is known. What it started may live on.
    Ended(Option<i32>),
    /// `ComfyUI-Manager` wants it started anew.
    Restart,
}

impl ServerProcess {
    /// Starts it: in its folder, in a process group of its own, with nothing on standard input. It
    /// appends its output to `log` itself: a pipe that breaks makes samplers fail that print.
    ///
    /// # Errors
    /// Why it does not start, one line.
    pub fn start(command: &StartCommand, log: &Path) -> Result<Self, String> {
        let named = |error: io::Error| format!("{}: {error}", log.display());
        fs::create_dir_all(log.parent().unwrap_or(log)).map_err(named)?;
        let file = open_to_append(log).map_err(named)?;
        let _ = fs::remove_file(reboot_file(log));
        let output = Output::new(log, file.metadata().map_or(0, |about| about.len()));
        let name = command.program.to_string_lossy();
        let found = process::find_program(&[&name]).filter(|_| command.program.is_relative());
        let mut starts = Command::new(found.as_ref().unwrap_or(&command.program));
        starts.args(&command.arguments).current_dir(&command.folder);
        // Node packs that print an emoji fail to import without the first one. By the last one
        // ComfyUI-Manager asks us for a restart, instead of replacing the process.
        starts.env("PYTHONUTF8", "1").env("PYTHONUNBUFFERED", "1");
        starts.env("__COMFY_CLI_SESSION__", log.with_file_name(SESSION));
        let child = process::spawn(&mut starts, file)?;
        let id = child.id();
        let (child, start, is_left) = (Some(child), process::process_start(id), false);
        Ok(ServerProcess { child, id, start, output, exit_code: None, is_left })
    }

    /// One that a killed run started, if it still runs. None, too, where the system does not tell when
    /// a process started: numbers are used anew.
    /// `from`: where its output begins in the log.
    pub fn adopt(id: u32, start: Option<u64>, log: &Path, from: u64) -> Option<Self> {
        start.filter(|_| process::process_start(id) == start)?;
        let output = Output::new(log, from);
        Some(ServerProcess { child: None, id, start, output, exit_code: None, is_left: false })
    }

    /// Reads what it has printed since, and looks whether it lives.
    pub fn look(&mut self) -> Life {
        self.output.read();
        let code = match &mut self.child {
            None => (process::process_start(self.id) != self.start).then_some(None),
            Some(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(Some(process::exit_code(status))),
                Err(_) => Some(None),
            },
        };
        let Some(code) = code else { return Life::Running };
        self.exit_code = code;
        // The last of it.
        self.output.read();
        let reboot = reboot_file(&self.output.log);
        if matches!(code, Some(0) | None) && reboot.is_file() {
            let _ = fs::remove_file(reboot);
            return Life::Restart;
        }
        Life::Ended(code)
    }

    /// Ends it with all it has started: asked first, by force after `grace`.
    pub fn end(mut self, grace: Duration, wait: &mut Wait) {
        // Everything is ended in any case.
        let _ = if let Some(child) = &mut self.child {
            process::end_child(child, grace, wait)
        } else {
            let (id, start) = (self.id, self.start);
            let mut is_over = || process::process_start(id) != start;
            process::end_group(id, &mut is_over, grace, wait)
        };
        self.is_left = true;
    }

    /// Lets it run on.
    pub fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if !self.is_left {
            process::kill_group(self.id);
        }
    }
}

/// Where `ComfyUI-Manager` leaves word that it wants a restart (its `manager_server.py`).
fn reboot_file(log: &Path) -> PathBuf {
    log.with_file_name(SESSION).with_extension("reboot")
}

/// What a server prints, read from its file as it comes.
#[derive(Debug)]
pub struct Output {
    log: PathBuf,
    /// What is read of the file.
    read: u64,
    line: Vec<u8>,
    last: String,
    /// The latest line of an error, and how many came since.
    error: Option<(String, usize)>,
    /// When the latest line came; at first, when the reading began.
    pub heard: Instant,
    /// The thread that executes prompts has died (`prompt_worker` of `main.py`): it will execute none
    /// any more.
    pub has_dead_worker: bool,
    /// The port that it says it listens on.
    pub port: Option<u16>,
    /// The file had become too long, and was cut.
    pub was_cut: bool,
}

impl Output {
    fn new(log: &Path, from: u64) -> Self {
        Output {
            log: log.to_owned(),
            read: from,
            line: Vec::new(),
            last: String::new(),
            error: None,
            heard: sleep::now(),
            has_dead_worker: false,
            port: None,
            was_cut: false,
        }
    }

    /// Its last line, without control characters.
    pub fn last_line(&self) -> &str {
        &self.last
    }

    /// What it said last of an error, else its last line; a question of the command interpreter and a
    /// list of modules say nothing. To be redacted by whoever shows it.
    pub fn last_words(&self) -> &str {
        self.error().unwrap_or(&self.last)
    }

    /// What it said last of an error, unless much else came since.
    pub fn error(&self) -> Option<&str> {
        let (error, _) = self.error.as_ref().filter(|(_, since)| *since < LATEST_LINES)?;
        Some(error)
    }

    /// It has started: what it said before is not what it dies of.
    pub fn forget_error(&mut self) {
        self.error = None;
    }

    /// Reads a bounded amount of what is new. A file that cannot be read tells nothing.
    fn read(&mut self) {
        let _ = self.try_read();
    }

    fn try_read(&mut self) -> io::Result<()> {
        let length = fs::metadata(&self.log)?.len();
        // Somebody has cut it.
        self.read = self.read.min(length);
        if length - self.read > 4 * CHUNK {
            self.read = length - CHUNK;
            self.line.clear();
        }
        let new = read_part(&self.log, self.read, 4 * CHUNK)?;
        self.read += new.len() as u64;
        for byte in new {
            match byte {
                // A progress bar draws its line anew.
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.take(&String::from_utf8_lossy(&line));
                }
                byte if self.line.len() < 4096 => self.line.push(byte),
                _ => {}
            }
        }
        if self.read > LONGEST_LOG {
            OpenOptions::new().write(true).open(&self.log)?.set_len(0)?;
            (self.read, self.was_cut) = (0, true);
        }
        Ok(())
    }

    fn take(&mut self, line: &str) {
        let line = sanitize_line(without_colours(line).trim());
        if let Some((_, since)) = &mut self.error {
            *since += 1;
        }
        if line.is_empty() {
            return;
        }
        self.heard = sleep::now();
        self.has_dead_worker |=
            line.contains("Exception in thread") && line.contains("(prompt_worker)");
        if let Some((_, address)) = line.split_once("To see the GUI go to: ") {
            let port = address.trim_end_matches('/').rsplit_once(':');
            self.port = port.and_then(|(_, port)| port.parse().ok());
        }
        let says_nothing = line.ends_with('>')
            || line.starts_with("Extension modules:")
            || line.starts_with("Press any key");
        if says_nothing {
            return;
        }
        let quote = shortened(&line, LONGEST_QUOTE);
        if ["Fatal", "Error", "Killed"].iter().any(|word| line.contains(word)) {
            self.error = Some((quote.clone(), 0));
        }
        self.last = quote;
    }
}

/// The text without the escape sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    rest.fold(first, |text, part| text + part.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_file_or_words() {
        let root = std::env::temp_dir().join(format!("command-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let file = root.join("my start.bat");
        fs::write(&file, "").unwrap();
        let parse = |text: &str| StartCommand::parse(text, Path::new("root"));
        let by_file = parse(&file.to_string_lossy()).unwrap();
        assert_eq!((by_file.program, by_file.folder), (file, root.clone()));
        assert_eq!(by_file.arguments, [""; 0]);
        let line = format!("\"{}/python\"  -s 'a \"b c\"d ", root.display());
        let by_words = parse(&line).unwrap();
        assert_eq!((by_words.program, by_words.folder), (root.join("python"), root.clone()));
        assert_eq!(by_words.arguments, ["-s", "'a", "b cd"]);
        let in_root = parse("python main.py").unwrap();
        assert_eq!((in_root.program, in_root.folder), ("python".into(), "root".into()));
        for wrong in ["", "  ", "a \"b", "\"\""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_a_server_prints_is_read_as_it_comes() {
        let log = std::env::temp_dir().join(format!("output-{}.log", std::process::id()));
        let write = |text: &str| {
            io::Write::write_all(&mut open_to_append(&log).unwrap(), text.as_bytes()).unwrap();
        };
        let _ = fs::remove_file(&log);
        write("of a start before\n");
        let mut output = Output::new(&log, fs::metadata(&log).unwrap().len());
        write("\x1b[32mSta");
        output.read();
        assert_eq!(output.last_line(), "");
        write("rting\x1b[0m\n");
        output.read();
        assert_eq!(output.last_line(), "Starting");
        write("\n 10%|#\r 20%|##\rTo see the GUI go to: http://127.0.0.1:8188\n");
        output.read();
        assert!(output.last_line().starts_with("To see the GUI"), "{}", output.last_line());
        assert_eq!((output.port, output.has_dead_worker), (Some(8188), false));
        write("Exception in thread Thread-9 (prompt_worker):\nRuntimeError: no audio\n");
        write(
            "Extension modules: a (total: 1)\nPress any key to continue . . .\nC:\\ComfyUI>\nbye\n",
        );
        output.read();
        assert!(output.has_dead_worker);
        assert_eq!((output.last_words(), output.last_line()), ("RuntimeError: no audio", "bye"));
        write(&"line\n".repeat(LATEST_LINES));
        output.read();
        assert_eq!(output.last_words(), "line");
        // Of very much that is new the end is read.
        write(&format!("{}\nKilled\n", "x".repeat(5 << 20)));
        output.read();
        assert_eq!(output.last_words(), "Killed");
        fs::remove_file(&log).unwrap();
    }
}
