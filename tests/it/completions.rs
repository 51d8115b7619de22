//! What the shells complete. Bash is really asked; PowerShell's script is held against its rules in
//! the unit tests of `options`.

use crate::support::Folder;

#[test]
fn another_shell_is_refused_and_a_prefix_that_meant_the_server_still_does() {
    let folder = Folder::new();
    folder
        .run(&["--completions", "zsh"])
        .exits(2)
        .complains("--completions takes bash or powershell, not 'zsh'");
    let ran = folder.run(&["-Com", "http://127.0.0.1:9", "-Com", "http://127.0.0.1:9"]);
    ran.exits(2).complains("-ComfyUIUrl is given twice");
    let script = folder.run(&["-Completions:PowerShell"]).exits(0).stdout;
    for line in [
        "Register-ArgumentCompleter -Native -CommandName 'run-comfyui-e2e' -ScriptBlock {",
        "param($wordToComplete, $commandAst, $cursorPosition)",
        "@{ Name = '-VramSource'; Gnu = '--vram-source'; Verbs = @('run', 'monitor'); Switch = $false; Words = @('auto', 'comfyui', 'nvidia-smi'); Help = ",
        "if ($before.Count -gt 1 -and @('summary', 'monitor') -ccontains $before[1])",
    ] {
        assert!(script.contains(line), "{line}\n{script}");
    }
}

#[cfg(target_os = "linux")]
mod bash {
    use crate::support::Folder;

    /// What bash offers for the last of these words, sorted.
    fn offers(folder: &Folder, words: &[&str]) -> Vec<String> {
        let script = folder.run(&["--completions", "bash"]).exits(0).stdout;
        folder.write("completions.sh", script);
        let ask = "source ./completions.sh && complete -p run-comfyui-e2e >/dev/null || exit 9
            COMP_WORDS=(run-comfyui-e2e \"$@\"); COMP_CWORD=$#
            _run_comfyui_e2e; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut arguments = vec!["--norc", "-c", ask, "bash"];
        arguments.extend(words);
        let ran = folder.run_program("bash", &arguments).exits(0);
        assert_eq!(ran.stderr, "", "{ran}");
        let mut offers: Vec<String> =
            ran.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        offers.sort();
        offers
    }

    #[test]
    fn options_values_verbs_and_folders() {
        let folder = Folder::new();
        folder.write("my flows/flow.json", "{}");
        folder.write("summaries.json", "{}");
        for (words, wanted) in [
            (&["--max-w"][..], &["--max-wait-seconds"][..]),
            (&["--vram-source", ""], &["auto", "comfyui", "nvidia-smi"]),
            (&["--vram-source", "n"], &["nvidia-smi"]),
            (&["--vram-source", "="], &["auto", "comfyui", "nvidia-smi"]),
            (&["--vram-source", "=", "c"], &["comfyui"]),
            (&["--quiet", "--seed", ""], &["keep", "random"]),
            (&["--completions", "p"], &["powershell"]),
            (&["sum"], &["summaries.json", "summary"]),
            // A verb is the first word, and has options of its own.
            (&["--quiet", "sum"], &[]),
            (&["monitor", "--app"], &["--append"]),
            (&["--app"], &[]),
            (&["summary", "--fr"], &[]),
            (&["--logs-dir", "my"], &["my flows"]),
            // A file's name is left to bash, which knows how to quote it; a number is none.
            (&["--workflow", "my"], &[]),
            (&["--max-wait-seconds", "1"], &[]),
            // Behind -- is a command, then what that takes.
            (&["monitor", "--", "run-comfyui-e2"], &[]),
            (&["monitor", "--", "echo", "--"], &[]),
            (&["--", "--max"], &[]),
        ] {
            assert_eq!(offers(&folder, words), wanted, "{words:?}");
        }
        let commands = offers(&folder, &["monitor", "--", "ech"]);
        assert!(commands.contains(&"echo".to_owned()), "{commands:?}");
        let all = offers(&folder, &["--"]);
        assert!(all.len() > 30 && all.contains(&"--dry-run".to_owned()), "{all:?}");
        for one in &all {
            assert!(!one.starts_with("--stop-comfyui") && !one.contains("duration"), "{one}");
        }
    }
}
