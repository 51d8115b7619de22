//! The command lines of `monitor`.

use std::time::Duration;

use super::Desk;

#[test]
fn no_argument_samples_once_a_second() {
    let desk = Desk::new().env("COMFYUI_URL", "http://gpu-2:1");
    let options = desk.monitor("monitor");
    assert_eq!((options.command, options.duration, options.log), (None, None, None));
    assert_eq!((options.sampling.interval, options.sampling.gpu), (Duration::from_secs(1), 0));
    assert_eq!(options.server.url.base(), "http://gpu-2:1");
    assert!(!options.append && !options.quiet);
}

#[test]
fn what_follows_the_dashes_is_the_command_s_own() {
    let desk = Desk::new();
    let options = desk.monitor("monitor -Log l.log -Append -Sample .2 -- tool -h --log x -- -V");
    let command = options.command.expect("a command");
    assert_eq!(command, ["tool", "-h", "--log", "x", "--", "-V"]);
    assert_eq!((options.log, options.append), (Some(desk.path("l.log")), true));
    assert_eq!(options.sampling.interval, Duration::from_millis(200));
    let timed = desk.monitor("monitor --duration 1.5 --gpu 1 --header X:1 -Quiet -Append:$false");
    assert_eq!((timed.duration, timed.command), (Some(Duration::from_millis(1500)), None));
    assert_eq!((timed.sampling.gpu, timed.quiet, timed.server.headers.len()), (1, true, 1));
}

#[test]
fn refused_lines() {
    let desk = Desk::new();
    let cases = [
        ("monitor python x.py", "'python': the command of monitor goes after --"),
        ("monitor flow.json -- tool", "'flow.json': the command of monitor goes after --"),
        ("monitor --", "monitor has no command behind its --"),
        (
            "monitor --duration 5 -- tool",
            "--duration is for monitor without a command: with one it ends when the command does",
        ),
        ("monitor -Append", "-Append needs -Log FILE"),
        ("monitor --append -- tool", "--append needs --log FILE"),
        ("monitor --log=", "--log takes a file, not ''"),
        ("monitor --log x --html x -- tool", "--html names the file of the log"),
        ("monitor --junit x", "--junit is an option of a run and summary, not of monitor"),
        ("--html x", "--html is an option of summary and monitor, not of a run"),
        ("monitor -Dur 0", "-Duration takes seconds from 0.05 to 604800, not '0'"),
        ("monitor -Json", "-Json is an option of a run and summary, not of monitor"),
        ("monitor --fresh", "--fresh is an option of a run, not of monitor"),
        ("--duration 5", "--duration is an option of monitor, not of a run"),
        ("summary --log x", "--log is an option of monitor, not of summary"),
        ("monitr", "'monitr': no such file or folder: did you mean the verb monitor?"),
    ];
    for (line, refusal) in cases {
        assert_eq!(desk.refusal(line), refusal, "{line}");
    }
}
