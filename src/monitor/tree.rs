//! A process and those that it started, as `/proc` lists them. Where there is none, the process
//! alone.

use std::fs;

/// The process and its descendants, parents before their children.
pub fn of(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
            Some((id, parent(&String::from_utf8_lossy(&stat))?))
        })
        .collect();
    descendants(root, &parents)
}

fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&id) = tree.get(next) {
        next += 1;
        let children = parents.iter().filter(|(child, parent)| *parent == id && *child != root);
        tree.extend(children.map(|(child, _)| child));
    }
    tree
}

/// The fourth field: the second is a name in parentheses, which may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_the_root_and_what_it_started() {
        let parents = [(5, 1), (6, 5), (7, 6), (8, 5), (9, 1), (1, 0)];
        assert_eq!(descendants(5, &parents), [5, 6, 8, 7]);
        assert_eq!(descendants(9, &parents), [9]);
        assert_eq!(descendants(4, &parents), [4]);
    }

    #[test]
    fn a_name_may_look_like_fields() {
        assert_eq!(parent("12 (a) S 99 (b) S 34 12 12 0 -1"), Some(34));
        assert_eq!(parent("12 (sh) S 34 12 12 0 -1"), Some(34));
        assert_eq!(parent("12 (sh"), None);
    }
}
