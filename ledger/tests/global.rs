//! The two levels of logs: origins, checkpoint texts and links, read and written.
//! control: A18

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::global::{
    CheckpointFile, Incarnation, Link, Origin, checkpoint, continues, sealed_at,
};
use proptest::prelude::*;

fn origin() -> Origin {
    let incarnation = Incarnation {
        number: 3,
        random: [0x9f, 0x2c, 0x41, 0xaa],
    };
    Origin::new("batches.example.com/line", 0x67a1_2b3c_4d5e_6f70, incarnation).expect("an origin")
}

#[test]
fn origins_have_one_spelling() {
    let global = origin();
    let text = "batches.example.com/line/67a12b3c4d5e6f70/3-9f2c41aa";
    assert_eq!(global.to_string(), text);
    assert_eq!(text.parse(), Ok(global.clone()));
    let organisation = global.of_organisation([0x1f; 16]);
    let text = format!("{text}/1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f");
    assert_eq!(organisation.to_string(), text);
    assert_eq!(text.parse(), Ok(organisation.clone()));
    assert_eq!(organisation.global(), global);
    for wrong in [
        "",
        "name",
        "name/67a12b3c4d5e6f70",
        "/67a12b3c4d5e6f70/1-00000000",
        "na me/67a12b3c4d5e6f70/1-00000000",
        "name/67a12b3c4d5e6f7/1-00000000",
        "name/67A12B3C4D5E6F70/1-00000000",
        "name/67a12b3c4d5e6f70/0-00000000",
        "name/67a12b3c4d5e6f70/01-00000000",
        "name/67a12b3c4d5e6f70/1-0",
        "name/67a12b3c4d5e6f70/+1-00000000",
        "name/67a12b3c4d5e6f70/1-00000000/1F1F1F1F-1f1f-1f1f-1f1f-1f1f1f1f1f1f",
        "name/67a12b3c4d5e6f70/1-00000000/",
    ] {
        assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
    }
}

#[test]
fn checkpoints_say_when_and_what_they_continue() {
    let sealed = 1_795_384_800_000_001;
    let first = checkpoint(&origin(), 7, [5; 32], sealed, None).expect("a checkpoint");
    assert_eq!(
        first.to_string().lines().last(),
        Some("sealed 2026-11-22T22:00:00.000001Z")
    );
    assert_eq!((sealed_at(&first), continues(&first)), (Some(sealed), None));
    let later = checkpoint(&origin(), 7, [5; 32], sealed, Some((6, "old/origin"))).expect("a checkpoint");
    let read: Checkpoint = later.to_string().parse().expect("its own text");
    assert_eq!(continues(&read), Some((6, "old/origin")));
    assert!(checkpoint(&origin(), 7, [5; 32], i64::MAX, None).is_err());
    for line in [
        "sealed 2026-11-22T22:00:00Z",
        "sealed 2026-11-22T23:00:00.000001+01:00",
        "sealed ",
    ] {
        let other = Checkpoint::new("o", 1, [5; 32]).and_then(|c| c.with_extension(line));
        assert_eq!(sealed_at(&other.expect("a line")), None, "{line}");
    }
}

proptest! {
    #[test]
    fn links_read_back(number in 1u32.., random: [u8; 4], size: u64, root: [u8; 32], began_at in 0i64..200_000_000_000_000_000, first: bool) {
        let incarnation = Incarnation { number, random };
        let origin = Origin::new("name", size, incarnation).expect("an origin").to_string();
        let link = Link { previous: (!first).then(|| origin.clone()), origin, size, root, began_at };
        prop_assert_eq!(link.to_string().parse(), Ok(link));
    }

    #[test]
    fn no_text_makes_reading_panic(text: String) {
        let _ = text.parse::<Link>();
        let _ = text.parse::<Origin>();
        let _ = text.parse::<Incarnation>();
    }
}

#[test]
fn the_name_of_a_checkpoint_file_has_one_spelling() {
    let file = CheckpointFile {
        incarnation: "12-00ab34cd".parse().expect("an incarnation"),
        size: 4096,
    };
    let name = "12-00ab34cd-00000000000000004096.checkpoint";
    assert_eq!(file.to_string(), name);
    assert_eq!(name.parse(), Ok(file));
    for other in [
        "12-00ab34cd-4096.checkpoint",
        "12-00AB34CD-00000000000000004096.checkpoint",
        "0-00ab34cd-00000000000000004096.checkpoint",
        "12-00ab34cd-00000000000000004096",
        "12-00ab34cd-+0000000000000004096.checkpoint",
        "12-00ab34cd-99999999999999999999.checkpoint",
        ".checkpoint",
        "",
    ] {
        assert!(other.parse::<CheckpointFile>().is_err(), "{other}");
    }
}
