//! The name that was probably meant: for options, node names, scene ids and files.

/// Words longer than this are not compared: the cost grows with the square of the length.
const LONGEST: usize = 256;

/// The name that `word` was probably meant to be, letter case aside.
///
/// That is the one with the fewest edits (a letter added, left out, replaced, or two neighbours
/// swapped), if no more than a third of its letters have to be edited; else the shortest name that
/// begins with `word`, if `word` has three letters or more. Of equals the first. `None` if no name
/// is near, or if `word` is empty or has more than 256 characters.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word);
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let names: Vec<_> = names.into_iter().map(|name| (folded(name), name)).collect();
    let few_edits = |name: &[char]| {
        let limit = word.len().max(name.len()) / 3;
        let may_fit = word.len().abs_diff(name.len()) <= limit;
        may_fit.then(|| distance(&word, name)).filter(|edits| *edits <= limit)
    };
    let edited = names.iter().filter_map(|(folded, name)| Some((few_edits(folded)?, *name)));
    let longer = names.iter().filter(|(name, _)| word.len() >= 3 && name.starts_with(&word));
    let longer = longer.map(|(folded, name)| (folded.len(), *name));
    let first = edited.min_by_key(|(edits, _)| *edits);
    first.or_else(|| longer.min_by_key(|(length, _)| *length)).map(|(_, name)| name)
}

fn folded(word: &str) -> Vec<char> {
    word.chars().flat_map(char::to_lowercase).collect()
}

/// The number of edits between two words, a swap of neighbours being one (optimal string
/// alignment), in three rows of the table.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let mut edits = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && y == a[i - 1] {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letters(word: &str) -> Vec<char> {
        word.chars().collect()
    }

    #[test]
    fn the_probable_name() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("flwo", &["other", "flow"], Some("flow")),
            ("ksampler", &["KSampler", "KSamplerAdvanced"], Some("KSampler")),
            ("x.safetensors", &["y.ckpt", "xl.safetensors"], Some("xl.safetensors")),
            ("scene-1", &["scene-001", "scene-012"], Some("scene-001")),
            ("max-wait", &["max-wait-seconds", "fresh"], Some("max-wait-seconds")),
            ("load", &["LoadImageMask", "LoadImage"], Some("LoadImage")),
            ("5", &["4", "6"], None),
            ("ab", &["abc-long-name"], None),
            ("entirely", &["different"], None),
            ("", &["a"], None),
            ("Ä", &["ä"], Some("ä")),
        ];
        for (word, names, expected) in cases {
            assert_eq!(nearest(word, names.iter().copied()), *expected, "{word}");
        }
        let long = "a".repeat(LONGEST + 1);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }

    proptest! {
        #[test]
        fn the_distance_is_one(a in "[a-d]{0,7}", b in "[a-d]{0,7}") {
            let (x, y) = (letters(&a), letters(&b));
            prop_assert_eq!(distance(&x, &y), distance(&y, &x));
            prop_assert_eq!(distance(&x, &y) == 0, a == b);
            prop_assert!(distance(&x, &y) <= x.len().max(y.len()));
            prop_assert!(distance(&x, &y) >= x.len().abs_diff(y.len()));
        }

        #[test]
        fn a_name_is_nearest_to_itself(names in prop::collection::vec("[a-z]{1,8}", 1..5)) {
            for name in &names {
                prop_assert_eq!(nearest(name, names.iter().map(String::as_str)), Some(name.as_str()));
            }
        }
    }
}
