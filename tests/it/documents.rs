//! The pages beside the program: what they name is there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::Folder;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Words that follow the name of the program on a line, and begin with two dashes.
fn options(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.contains("run-comfyui-e2e"));
    let words = lines.flat_map(|line| line.split("run-comfyui-e2e").skip(1)).flat_map(|rest| {
        // Behind -- it is another program's.
        let rest = rest.split(" -- ").next().unwrap_or_default();
        rest.split(|c: char| c.is_whitespace() || "`\",'()".contains(c)).map(str::to_owned)
    });
    let all = words.map(|word| word.split('=').next().unwrap_or_default().to_owned());
    all.filter(|word| word.len() > 2 && word.starts_with("--")).collect()
}

#[test]
fn every_option_that_a_page_gives_exists() {
    let help = Folder::new().run(&["--help"]).exits(0).stdout;
    let mut found = 0;
    for name in ["README.md", "docs/schedulers.md"] {
        for option in options(&page(name)) {
            found += 1;
            let there = help.split_whitespace().any(|word| word.trim_end_matches(',') == option);
            // What belongs to cargo, or is the demo's.
            let others = ["--release", "--example", "--features", "--test", "--locked", "--path"];
            assert!(there || others.contains(&option.as_str()), "{name}: {option}");
        }
    }
    assert!(found > 15, "{found} options");
}

#[test]
fn the_shim_hands_on_arguments_and_code_and_keeps_the_words_that_are_looked_for() {
    let readme = page("README.md");
    let shim = readme.split("```powershell\n").nth(1).and_then(|rest| rest.split("```").next());
    let shim = shim.expect("a shim");
    for part in [
        "Stop-Job",
        "Remove-Job",
        "$vramMonitorJob",
        "[Console]::OutputEncoding",
        "& $program @args\nexit $LASTEXITCODE\n",
    ] {
        assert!(shim.contains(part), "{part}:\n{shim}");
    }
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
