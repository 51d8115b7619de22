//! The pages beside the program: what they name is there.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::flags::FlagId;
use super::super::help;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.replace("\r\n", "\n")
}

/// Options of other programs that the pages name: of cargo, a command under `monitor`, the story
/// generator, `ComfyUI`, parallel, systemd, Slurm and `PowerShell`.
const OTHERS: &str = "\
    --release --example --features --test --lib --locked --path --ignored --target --bench \
    --steps --output --useMockLLM --port --output-directory --link --joblog --termseq --now \
    --windows-standalone-build --disable-auto-launch --no-block --failed --user --same-dir --unit --job-name --array --gres --time --format -File \
    -Execute -Argument -WorkingDirectory -Daily -At -TaskName -Action -Trigger \
    -Settings -WakeToRun -StartWhenAvailable -ExecutionTimeLimit -MultipleInstances -Directory -Last \
    -ExecutionPolicy -RunDir -Scope -UserId -LogonType -Principal";

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
    let help = help::full();
    let ours = options(&help);
    assert!(ours.len() > 80, "{ours:?}");
    let others: BTreeSet<&str> = OTHERS.split_whitespace().collect();
    let pages = "README.md docs/drop-in.md docs/exit-codes.md docs/faults.md docs/internals.md docs/json.md \
         docs/monitor.md docs/numbers.md docs/reports.md docs/schedulers.md docs/workflows.md";
    // The wrapper's own are PowerShell's.
    let wrapper = page("dist/run-comfyui-e2e.ps1");
    let pages = pages.split(' ').map(|name| (name, page(name).replace(&wrapper, "")));
    let pages: Vec<_> = pages.collect();
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

#[test]
fn every_exit_code_of_the_help_is_in_the_readme() {
    let help = help::full();
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

#[test]
fn the_wrapper_is_one_wherever_it_stands() {
    let (wrapper, docs) = (page("dist/run-comfyui-e2e.ps1"), page("docs/drop-in.md"));
    let code = docs.split("```powershell\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(code, Some(wrapper.as_str()));
    // Windows PowerShell takes a file without a mark for the system's own code page.
    assert!(wrapper.is_ascii());
    let comments: Vec<&str> = wrapper.lines().filter(|line| line.starts_with('#')).collect();
    for word in ["Stop-Job", "Remove-Job", "$vramMonitorJob"] {
        assert!(comments.iter().any(|line| line.contains(word)), "{word}:\n{wrapper}");
    }
}

/// What a release is made of, its workflow, `cargo binstall` and the script agree upon.
#[test]
fn a_release_has_what_it_is_looked_for() {
    let (script, workflow) = (page("dist/package.sh"), page(".github/workflows/release.yml"));
    for part in [
        "README.md CHANGELOG.md LICENSE \"$to\"",
        "dist/run-comfyui-e2e.ps1 \"$to/dist\"",
        "--features tls",
        "to=target/package/$name-$target\n",
        "zip -qr \"../$name-$target.zip\" .",
    ] {
        assert!(script.contains(part), "{part}");
    }
    for shell in FlagId::Completions.flag().words {
        assert!(script.contains(&format!("\ncomplete {shell} ")), "{shell}");
    }
    let manifest = page("Cargo.toml");
    assert!(manifest.contains("/v{ version }/{ name }-{ target }.zip\""));
    for target in
        ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "x86_64-pc-windows-gnu"]
    {
        let targets = workflow.lines().find(|line| line.contains("TARGETS: ")).unwrap();
        assert!(targets.contains(target), "{target}");
    }
    assert!(manifest.contains("{ name }-x86_64-pc-windows-gnu.zip"));
    assert!(workflow.contains("sha256sum *.zip > SHA256SUMS"));
}
