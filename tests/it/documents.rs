//! The pages beside the program: what they name is there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::stand_in::{StandIn, graphs};
use crate::support::Folder;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Options of other programs that the pages name: of cargo, a command under `monitor`, the story
/// generator, `ComfyUI`, parallel, systemd, Slurm and `PowerShell`.
const OTHERS: &str = "\
    --release --example --features --test --lib --locked --path --ignored --target --bench \
    --steps --output --useMockLLM --port --output-directory --link --joblog --termseq --now \
    --no-block --failed --user --same-dir --unit --job-name --array --gres --time --format -File \
    -LiteralPath -Execute -Argument -WorkingDirectory -Daily -At -TaskName -Action -Trigger \
    -Settings -WakeToRun -StartWhenAvailable -ExecutionTimeLimit -MultipleInstances";

/// Words of a text that look like options: `--max-wait-seconds`, `-MaxWaitSeconds`.
fn options(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "`\",'()[]|=:;<>".contains(c));
    let words = words.map(|word| word.trim_end_matches(['.', '?']));
    let begins = |word: &str, dash: &str, letter: fn(&char) -> bool| {
        let name = word.strip_prefix(dash).unwrap_or_default();
        name.len() > 1 && name.chars().next().is_some_and(|first| letter(&first))
    };
    words
        .filter(|word| {
            begins(word, "--", char::is_ascii_lowercase)
                || begins(word, "-", char::is_ascii_uppercase)
        })
        .collect()
}

#[test]
fn every_option_that_a_page_gives_exists() {
    let help = Folder::new().run(&["--help"]).exits(0).stdout;
    let ours = options(&help);
    assert!(ours.len() > 80, "{ours:?}");
    let others: BTreeSet<&str> = OTHERS.split_whitespace().collect();
    let pages =
        ["README.md", "docs/schedulers.md", "docs/faults.md", "docs/json.md", "docs/reports.md"]
            .map(|name| (name, page(name)));
    let mut found = BTreeSet::new();
    for (name, text) in &pages {
        for option in options(text) {
            assert!(ours.contains(option) || others.contains(option), "{name}: {option}");
            found.insert(option);
        }
    }
    // What no page names any more would hide a typo one day.
    assert!(others.is_subset(&found), "{:?}", others.difference(&found));
}

fn shim() -> String {
    let readme = page("README.md").replace("\r\n", "\n");
    let shim = readme.split("```powershell\n").nth(1).and_then(|rest| rest.split("```").next());
    shim.expect("a shim").to_owned()
}

#[test]
fn the_shim_hands_on_arguments_and_code_and_keeps_the_words_that_are_looked_for() {
    let shim = shim();
    let comments: Vec<&str> = shim.lines().filter(|line| line.starts_with('#')).collect();
    for word in ["Stop-Job", "Remove-Job", "$vramMonitorJob"] {
        assert!(comments.iter().any(|line| line.contains(word)), "{word}:\n{shim}");
    }
    for part in [
        "\n[Console]::OutputEncoding = [System.Text.Encoding]::UTF8\n",
        "Join-Path $PSScriptRoot 'run-comfyui-e2e.exe'",
        // exit $null would be 0.
        "\n$global:LASTEXITCODE = 1 ",
        "\n& $program @args\nexit $LASTEXITCODE\n",
    ] {
        assert!(shim.contains(part), "{part}:\n{shim}");
    }
    // Windows PowerShell takes a file without a mark for the system's own code page.
    assert!(shim.is_ascii(), "{shim}");
}

/// A PowerShell that runs what it is given; Wine's does not.
fn powershell() -> Option<&'static str> {
    ["pwsh", "powershell"].into_iter().find(|name| {
        let answer = Command::new(name).args(["-NoProfile", "-Command", "exit 42"]).output();
        answer.is_ok_and(|answer| answer.status.code() == Some(42))
    })
}

#[test]
fn the_shim_runs_where_there_is_a_powershell() {
    let Some(powershell) = powershell() else {
        eprintln!("no PowerShell on the PATH: the shim was only read");
        return;
    };
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let script = folder.write("scripts/run-comfyui-e2e.ps1", shim());
    let run = |words: &[&str]| {
        let mut command = Command::new(powershell);
        command.args(["-NoProfile", "-ExecutionPolicy", "Bypass", "-File"]).arg(&script);
        command.args(words).args(["-ComfyUIUrl", &server.url()]).current_dir(folder.path());
        let answer = command.output().unwrap();
        (answer.status.code(), String::from_utf8(answer.stdout).unwrap())
    };
    // A program that cannot be started: here it is a text.
    let program = folder.write("scripts/run-comfyui-e2e.exe", "no program");
    assert_ne!(run(&["flow.json"]).0, Some(0));
    std::fs::copy(env!("CARGO_BIN_EXE_run-comfyui-e2e"), program).unwrap();
    let line = ["-FastIteration", "-SceneRetryBudget:0", "--no-archive", "flow.json"];
    let (code, printed) = run(&line);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("sceneRetries=0, historyMaxWait=360s"), "{printed}");
    assert!(printed.contains('✓'), "{printed}");
    assert_eq!(run(&["-FastIteraton"]).0, Some(2));
}

#[test]
fn every_exit_code_of_the_help_is_in_the_readme() {
    let help = Folder::new().run(&["--help"]).exits(0).stdout;
    let codes = help.split("Exit codes:\n").nth(1).expect("codes").lines();
    let readme = page("README.md");
    let mut count = 0;
    for line in codes.take_while(|line| line.starts_with("  ")) {
        let code = line.split_whitespace().next().unwrap();
        assert!(readme.contains(&format!("\n| {code} | ")), "{code}");
        count += 1;
    }
    assert_eq!(count, 10);
}
