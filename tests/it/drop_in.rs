//! In place of the script: the wrapper that hands on to the program, in a real PowerShell. What
//! PowerShell hands on was seen in 7.6.9; that the program takes it is a unit test of the options.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::bench::{Project, ROOT};
use crate::support::{Running, example};

fn powershell() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("pwsh{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file())
}

/// What a test binary ignores is settled when it is built: where there is a PowerShell, this runs what
/// is ignored for want of one.
#[test]
fn a_powershell_on_the_path_is_used() {
    if powershell().is_some() {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        let ran = tests.args(["--ignored", "drop_in::in_powershell"]).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    }
}

/// A project with the wrapper in its `scripts`, and a program beside it.
struct Bench {
    project: Project,
    wrapper: PathBuf,
    program: PathBuf,
}

impl Bench {
    fn new(program: &Path) -> Self {
        let project = Project::new();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/run-comfyui-e2e.ps1");
        let place = format!("{ROOT}/scripts/run-comfyui-e2e.ps1");
        let wrapper = project.folder.write(&place, fs::read(script).unwrap());
        let beside = wrapper.with_extension(std::env::consts::EXE_EXTENSION);
        fs::copy(program, &beside).unwrap();
        Bench { project, wrapper, program: beside }
    }

    fn start(&self, way: &str, words: &[&str]) -> Running {
        let mut command = Command::new(powershell().expect("pwsh on the PATH"));
        command.args(["-NoProfile", "-NonInteractive"]).args(words);
        let in_project = |command: &mut Command| self.project.place("a fox", way, command);
        self.project.folder.launch(command, in_project)
    }

    fn file(&self, way: &str, words: &[&str]) -> Running {
        self.start(way, &[&["-File", self.wrapper.to_str().unwrap()], words].concat())
    }

    /// As typed at a prompt.
    fn typed(&self, way: &str, program: &Path, words: &str) -> Running {
        // Strict callers: it is the wrapper that knows better.
        let strict =
            "$ErrorActionPreference = 'Stop'; $PSNativeCommandUseErrorActionPreference = $true";
        let line = format!("{strict}; & '{}' {words}; exit $LASTEXITCODE", program.display());
        self.start(way, &["-Command", &line])
    }

    /// The words that the program was given; none if it was not started.
    fn given(&self) -> Option<String> {
        let note = self.project.notes().pop()?;
        fs::remove_file(self.project.folder.path().join("notes.txt")).unwrap();
        // Behind them are three variables.
        let words = note.rsplitn(4, '\t').last()?;
        Some(words.replace(' ', "␣").replace('\t', " "))
    }
}

const SAME: &str = "same";
/// It was never seen.
const UNKNOWN: &str = "unknown";
/// The program is not started.
const REFUSED: &str = "refused";

/// What is typed, the same as words of a process, and what the program is given: at a prompt, behind
/// `-File`, and at a prompt without the wrapper. `␣` stands for a space in a word.
const ROWS: [(&str, &str, [&str; 3]); 12] = [
    ("-A:600", SAME, [SAME, "-A 600", SAME]),
    ("-S:$false", SAME, ["-S:False"; 3]),
    ("-F a,b", SAME, [SAME; 3]),
    ("-F 001,002", SAME, ["-F 1,2", SAME, SAME]),
    ("-L 042", SAME, ["-L 42", SAME, SAME]),
    ("-M 0x258", SAME, ["-M 600", SAME, SAME]),
    ("-X \"\" -E -5 -Y 0.35", "-X  -E -5 -Y 0.35", [SAME; 3]),
    ("-Set '6.text=say \"hi\"'", "-Set 6.text=say␣\"hi\"", [SAME; 3]),
    ("-- -a", SAME, ["-a", SAME, SAME]),
    ("-W=flow.json", SAME, [UNKNOWN, UNKNOWN, "-W=flow .json"]),
    ("--workflow=flow.json --set 6.cfg=7.5 1.image=@cat.png", SAME, [SAME; 3]),
    ("@cat.png", SAME, [REFUSED, UNKNOWN, REFUSED]),
];

#[test]
#[ignore = "needs pwsh on the PATH; where there is one, it is run"]
fn in_powershell_the_program_gets_the_words_of_the_table() {
    let bench = Bench::new(&example("project_stand_in"));
    for (typed, words, wanted) in ROWS {
        let words = if words == SAME { typed } else { words };
        let split: Vec<String> = words.split(' ').map(|word| word.replace('␣', " ")).collect();
        let split: Vec<&str> = split.iter().map(String::as_str).collect();
        for (way, wanted) in wanted.into_iter().enumerate().filter(|(_, way)| *way != UNKNOWN) {
            let running = match way {
                0 => bench.typed("", &bench.wrapper, typed),
                1 => bench.file("", &split),
                _ => bench.typed("", &bench.program, typed),
            };
            let ran = running.wait();
            let wanted = Some(if wanted == SAME { words } else { wanted });
            let wanted = wanted.filter(|wanted| *wanted != REFUSED);
            assert_eq!(bench.given().as_deref(), wanted, "{typed}: way {way}: {ran}");
        }
    }
}

#[test]
#[ignore = "needs pwsh on the PATH; where there is one, it is run"]
fn in_powershell_the_code_is_handed_on_and_not_0_without_a_program() {
    let bench = Bench::new(&example("project_stand_in"));
    let both = |way: &str, code: i32, line: &str| {
        bench.file(way, &[]).wait().exits(code).complains(line);
        bench.typed(way, &bench.wrapper, "").wait().exits(code).complains(line);
    };
    both("", 0, "");
    both(":fail", 3, "");
    fs::write(&bench.program, "no program").unwrap();
    both("", 1, "run-comfyui-e2e: ");
    fs::remove_file(&bench.program).unwrap();
    both("", 1, "run-comfyui-e2e: the program is neither in ");
}

#[test]
#[ignore = "needs pwsh on the PATH; where there is one, it is run"]
fn in_powershell_it_is_the_script() {
    let bench = Bench::new(Path::new(env!("CARGO_BIN_EXE_run-comfyui-e2e")));
    let url = bench.project.server.url();
    let words = ["-FastIteration", "-SkipLLMHealthCheck", "-ComfyUIUrl", &url];
    let ran = bench.file("", &words).wait().exits(0).says("Videos: 3/3\n");
    ran.says("✓ SUCCESS: All scenes produced videos\n").says("historyMaxWait=360s");
    crate::project::satisfies(&bench.project);
    bench.file("", &["-FastIteraton"]).wait().exits(2);
    // PowerShell's own answer to Ctrl-C is 0.
    #[cfg(unix)]
    {
        bench.project.template(&crate::project::bench::template(600.0));
        let running = bench.file("", &words);
        running.until_it_says("Wan2 prompt queued");
        crate::signals::ctrl_c(&running);
        assert_ne!(running.wait().code, 0);
    }
}
