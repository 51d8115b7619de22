//! Names, and what has none in the archive.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[cfg(unix)]
#[test]
fn links_and_pipes_are_left_out_and_odd_names_stay_apart() {
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new();
    let outside = place.0.join("run").join("z");
    fs::write(&outside, "z").unwrap();
    std::os::unix::fs::symlink(&outside, place.run().join("link")).unwrap();
    std::os::unix::fs::symlink(&place.0, place.run().join("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.run().join("socket")).unwrap();
    place.file(r"..\a:b", "1");
    place.file(".._a_b", "2");
    fs::write(place.run().join(std::ffi::OsStr::from_bytes(b"\xff\n")), "3").unwrap();
    let wanted = ["link: a link", "loop: a link", "socket: neither file nor folder"];
    assert_eq!(place.write().unwrap(), wanted);
    let found: Vec<_> = read(&place.target());
    let wanted =
        [("top/.._a_b", "1"), ("top/.._a_b_", "2"), ("top/z", "z"), ("top/\u{fffd}\n", "3")];
    assert_eq!(found, wanted.map(|(name, text)| (name.into(), text.into())));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

    /// Names as they come home: whatever a server called them.
    #[test]
    fn any_name_comes_back(
        given in prop::collection::btree_map("(\\PC{1,12}/){0,2}\\PC{1,20}", any::<Vec<u8>>(), 0..6)
    ) {
        let place = Place::new();
        let mut wanted = BTreeMap::new();
        for (path, bytes) in given {
            let path: Vec<_> = path.split('/').map(crate::sanitize::file_name).collect();
            let path = path.join("/");
            let at = place.run().join(&path);
            // A file may be in the way of a folder, and on some systems `A` of `a`.
            if at.extension().is_none_or(|end| end != "part")
                && !at.exists()
                && fs::create_dir_all(at.parent().unwrap()).is_ok()
                && fs::write(&at, &bytes).is_ok()
            {
                wanted.insert(format!("top/{path}"), bytes);
            }
        }
        place.write().unwrap();
        let found = read(&place.target()).into_iter().filter(|(name, _)| !name.ends_with('/'));
        prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), wanted);
    }
}
