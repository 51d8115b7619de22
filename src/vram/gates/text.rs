//! How a verdict reads.

use std::fmt;

use super::{Measured, State, Verdict};

/// More verdicts on scenes than this are counted in the closing line, not told.
const TOLD: usize = 3;

impl Verdict {
    /// `Baseline scene-001 20276`.
    fn head(&self) -> String {
        let scene = self.scene.as_ref().map(|scene| format!(" {scene}")).unwrap_or_default();
        let limit = self.limit.map(|limit| format!(" {limit}")).unwrap_or_default();
        format!("{}{scene}{limit}", self.gate.name())
    }

    /// `MaxPeakMB 20000 held (driver 19310)`.
    fn short(&self) -> String {
        let measured = match self.measured {
            Some(Measured::Driver(mb, _)) => format!("driver {mb}"),
            Some(Measured::Used(mb)) => format!("used {mb}"),
            Some(Measured::SystemRam(mb)) => format!("system RAM {mb}"),
            Some(Measured::Growth(mb)) => format!("{mb:+} per scene"),
            None => String::new(),
        };
        match &self.state {
            State::NotJudged(why) => format!("{} not judged ({why})", self.head()),
            state => format!("{} {} ({measured})", self.head(), word(state)),
        }
    }
}

impl fmt::Display for Verdict {
    /// `MaxPeakMB 20000: FAILED, driver 20480 MB (used 17048)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, ", self.head(), word(&self.state))?;
        match (&self.state, self.measured) {
            (State::NotJudged(why), _) => f.write_str(why),
            (_, Some(Measured::Driver(mb, Some(used)))) => {
                write!(f, "driver {mb} MB (used {used})")
            }
            (_, Some(Measured::Driver(mb, None))) => write!(f, "driver {mb} MB"),
            (_, Some(Measured::Used(mb))) => write!(f, "used {mb} MB"),
            (_, Some(Measured::SystemRam(mb))) => write!(f, "system RAM {mb} MB"),
            (_, Some(Measured::Growth(mb))) => write!(f, "{mb:+} MB per scene"),
            (_, None) => f.write_str("nothing measured"),
        }
    }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Held => "held",
        State::Failed => "FAILED",
        State::NotJudged(_) => "not judged",
    }
}

/// All verdicts in one line, `Gates: MaxPeakMB 20000 held (driver 19310)`; none without a gate.
/// Of scenes those that did not hold are told, the first three, and the others counted.
pub fn closing(verdicts: &[Verdict]) -> Option<String> {
    if verdicts.is_empty() {
        return None;
    }
    let (of_scenes, of_run): (Vec<&Verdict>, Vec<&Verdict>) =
        verdicts.iter().partition(|verdict| verdict.scene.is_some());
    let bad: Vec<&&Verdict> = of_scenes.iter().filter(|verdict| !verdict.held()).collect();
    let mut parts: Vec<String> = of_run.iter().map(|verdict| verdict.short()).collect();
    parts.extend(bad.iter().take(TOLD).map(|verdict| verdict.short()));
    if bad.len() > TOLD {
        parts.push(format!("{} more scenes not within theirs", bad.len() - TOLD));
    }
    match of_scenes.len() - bad.len() {
        0 => {}
        1 => parts.push("1 scene within its baseline".to_owned()),
        n => parts.push(format!("{n} scenes within their baselines")),
    }
    Some(format!("Gates: {}", parts.join("; ")))
}
