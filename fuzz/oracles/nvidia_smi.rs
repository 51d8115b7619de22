//! What nvidia-smi prints, be it anything.

use std::time::{Duration, Instant};

use super::cards::{CardLine, CardList};
use super::{CardId, Wanted, read_lines};
use crate::properties::is_line;
use crate::vram::log;
use crate::vram::reading::{HIGHEST_MB, Source};

const TICK: Duration = Duration::from_millis(100);

/// The output is cut into lines, and none that is read has a figure that cannot be; written again
/// it reads the same. What is kept is bounded, and a card's reading goes through the log.
///
/// # Panics
/// Otherwise.
pub fn nvidia_smi(output: &[u8]) {
    let start = Instant::now();
    let (mut list, mut now) = (CardList::new(start), start);
    let mut lines = 0;
    read_lines(output, &mut |text: &str| {
        lines += 1;
        now += TICK;
        if let Some(line) = CardLine::parse(text) {
            is_possible(&line);
        }
        list.take_line(now, text);
    });
    assert!(lines <= output.split(|byte| *byte == b'\n').count());
    assert!(list.names().count() <= 64);
    let mut wanted = vec![Wanted::Only, Wanted::Named(CardId::Uuid("GPU-5a".into()))];
    for (index, name, total) in list.names() {
        let name = format!("cuda:0 {} : native", crate::sanitize::sanitize_line(name));
        wanted.push(Wanted::Named(CardId::Index(index)));
        wanted.push(Wanted::Device { name, total });
    }
    is_reason(&list, now + TICK * 1000);
    for wanted in wanted {
        for driver in [None, Some(0), Some(HIGHEST_MB)] {
            if let Some(driver) = driver {
                list.observe(&wanted, now, driver, TICK * 3);
            }
            match list.reading(&wanted, now, TICK * 3) {
                Ok(reading) => {
                    assert_eq!(reading.driver, Some(reading.used));
                    let line = log::Line::<&str>::new(
                        time::Time::MIDNIGHT,
                        Ok((reading, Source::NvidiaSmi)),
                    );
                    let text = line.format(false);
                    assert_eq!(log::Line::parse(text.as_bytes()), Some(line));
                }
                Err(why) => is_line(&why.to_string()),
            }
        }
    }
    list.ended(9);
    is_reason(&list, now + TICK * 1000);
}

/// Why there is no reading of that moment is one line, and not a long one.
fn is_reason(list: &CardList, at: Instant) {
    let why = list.reading(&Wanted::Only, at, TICK).expect_err("none is so late").to_string();
    is_line(&why);
    assert!(why.chars().count() < 250, "{why:?}");
}

fn is_possible(line: &CardLine) {
    let figures = [line.total, line.used, line.free];
    assert!(figures.into_iter().flatten().all(|mb| mb <= HIGHEST_MB), "{line:?}");
    assert!(line.total.is_none_or(|total| line.used.max(line.free) <= Some(total)), "{line:?}");
    let [total, used, free] = figures.map(|mb| mb.map_or("[N/A]".to_owned(), |mb| mb.to_string()));
    let uuid = line.uuid.as_deref().unwrap_or("[N/A]");
    let text = format!("{}, {uuid}, {}, {total}, {used}, {free}\n", line.index, line.name);
    assert_eq!(CardLine::parse(&text).as_ref(), Some(line), "{text:?}");
}
