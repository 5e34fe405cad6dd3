//! Files of keys on a real disk: who may read them, what they may hold, how they are made and changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use batchcortex_keys::key_file::KeyTextError;
use batchcortex_keys::{KeyFile, KeyFileError, PrivateFileError, ring};
use batchcortex_ledger::note::{PrivateKey, SignatureType, SignedNote};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::with_prefix("bc-keys-").expect("the test's own files");
    let file = directory.path().join("checkpoint.keys");
    (directory, file)
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("the test's own files");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test's own files");
}

fn key(name: &str, kind: SignatureType, seed: u8) -> PrivateKey {
    PrivateKey::new(name, kind, &[seed; 32]).expect("the test's own files")
}

/// The secret in a file, as it would look in a leak.
fn secret_of(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the test's own files");
    text.lines()
        .next()
        .expect("the test's own files")
        // The base64 may have a plus of its own.
        .splitn(5, '+')
        .nth(4)
        .expect("the test's own files")
        .to_owned()
}

#[test]
fn a_new_file_is_its_users_own_and_signs() {
    let (_directory, file) = place();
    let made = KeyFile::create(&file, "batches.example.com", SignatureType::Ed25519).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let keys = KeyFile::read(&file).unwrap();
    assert_eq!(keys.verifiers(), made.verifiers());
    assert_eq!(keys.name(), "batches.example.com");
    assert!(keys.cosigner().is_none());
    let mut note = SignedNote::new("text\n").unwrap();
    note.add(keys.signer().unwrap().sign(&note));
    assert!(note.verify(keys.verifiers()).is_ok());
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn files_that_others_could_read_are_refused() {
    let (_directory, file) = place();
    let text = key("log.example", SignatureType::Ed25519, 1).to_text();
    for mode in [0o600, 0o400] {
        write(&file, &text, mode);
        assert!(KeyFile::read(&file).is_ok(), "{mode:o}");
    }
    for mode in [0o644, 0o640, 0o604, 0o660, 0o700, 0o4600] {
        write(&file, &text, mode);
        let error = KeyFile::read(&file).unwrap_err();
        assert!(
            matches!(error, KeyFileError::File(PrivateFileError::Mode { .. })),
            "{mode:o}"
        );
        assert!(error.to_string().contains("chmod 600"));
        assert!(KeyFile::rotate(&file).is_err(), "{mode:o}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text.as_str());
    }
}

#[test]
fn files_of_others_links_and_what_is_no_file_are_refused() {
    let (directory, file) = place();
    let text = key("log.example", SignatureType::Ed25519, 1).to_text();
    write(&file, &text, 0o600);
    let link = directory.path().join("link");
    symlink(&file, &link).unwrap();
    assert!(matches!(
        KeyFile::read(&link),
        Err(KeyFileError::File(PrivateFileError::Link { .. }))
    ));
    assert!(matches!(
        KeyFile::read(directory.path()),
        Err(KeyFileError::File(PrivateFileError::NotAFile { .. }))
    ));
    assert!(matches!(
        KeyFile::read(&directory.path().join("none")),
        Err(KeyFileError::File(PrivateFileError::System { .. }))
    ));
    // A named pipe must not hold the reader up.
    let pipe = directory.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(matches!(
        KeyFile::read(&pipe),
        Err(KeyFileError::File(PrivateFileError::NotAFile { .. }))
    ));
    // Only root can give a file away; as anyone else, a file of root's serves.
    let foreign = if fs::metadata(&file).unwrap().uid() == 0 {
        chown(&file, Some(65_534), None).unwrap();
        file
    } else {
        PathBuf::from("/etc/shadow")
    };
    assert!(matches!(
        KeyFile::read(&foreign),
        Err(KeyFileError::File(
            PrivateFileError::Owner { .. } | PrivateFileError::Mode { .. } | PrivateFileError::System { .. }
        ))
    ));
}

#[test]
fn a_file_that_is_not_one_of_keys_is_refused_without_repeating_it() {
    let log = key("log.example", SignatureType::Ed25519, 1);
    let (private, public) = (log.to_text(), log.verifier().to_string());
    let older = key("log.example", SignatureType::Ed25519, 2)
        .verifier()
        .to_string();
    let witness = key("w.example", SignatureType::CosignatureV1, 3)
        .verifier()
        .to_string();
    let second = key("log.example", SignatureType::Ed25519, 4).to_text();
    let (private, second) = (private.as_str(), second.as_str());

    assert!(KeyFile::parse(&format!("# made today\n\n  {private}  \r\n# older\n{older}\n")).is_ok());
    let cases = [
        (String::new(), "0 are there"),
        (format!("{public}\n"), "0 are there"),
        (format!("{private}\n{second}\n"), "2 are there"),
        (format!("{private}\n{private}\n"), "2 are there"),
        (format!("{older}\n{private}\n"), "not the first"),
        (
            format!("{private}\n{public}\n"),
            "line 2: the key stands there already",
        ),
        (
            format!("{private}\n\n{older}\n{older}\n"),
            "line 4: the key stands there already",
        ),
        (
            format!("{private}\n{witness}\n"),
            "line 2: the key is of another kind",
        ),
        (format!("{private}\nnonsense\n"), "line 2: a verifier key must be"),
        (
            format!("{}\n", &private[..private.len() - 4]),
            "line 1: a private key must be",
        ),
        (
            private.replacen("log.example", "log.exemple", 1),
            "line 1: the key says id",
        ),
        (private.replacen("PRIVATE+KEY+", "PRIVATE+KEY+\t", 1), "line 1: "),
    ];
    for (text, expected) in cases {
        let error = KeyFile::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
        let secret = private.splitn(5, '+').nth(4).unwrap();
        assert!(!error.contains(&secret[..20]), "{error}");
    }

    let (_directory, file) = place();
    write(&file, &"#".repeat(70_000), 0o600);
    assert!(matches!(
        KeyFile::read(&file),
        Err(KeyFileError::File(PrivateFileError::Content { .. }))
    ));
    fs::write(&file, [0xff, 0xfe, b'\n']).unwrap();
    assert!(matches!(
        KeyFile::read(&file),
        Err(KeyFileError::File(PrivateFileError::Content { .. }))
    ));
}

#[test]
fn rotation_keeps_what_the_old_keys_have_signed_verifiable() {
    let (_directory, file) = place();
    let first = KeyFile::create(&file, "w.example", SignatureType::CosignatureV1).unwrap();
    let old_secret = secret_of(&file);
    let second = KeyFile::rotate(&file).unwrap();
    let third = KeyFile::rotate(&file).unwrap();
    let keys = KeyFile::read(&file).unwrap();
    let public = |keys: &KeyFile| keys.verifiers()[0].clone();
    assert_eq!(
        keys.verifiers(),
        [public(&third), public(&second), public(&first)]
    );
    assert_eq!(keys.cosigner().unwrap().verifier(), &public(&third));
    assert!(keys.verifiers().iter().all(|key| key.name() == "w.example"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&old_secret), "the old secret is gone");
    assert_eq!(text.matches("PRIVATE").count(), 1);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn keys_are_never_overwritten() {
    let (directory, file) = place();
    write(&file, "what was there", 0o600);
    assert!(matches!(
        KeyFile::create(&file, "log.example", SignatureType::Ed25519),
        Err(KeyFileError::File(PrivateFileError::Exists { .. }))
    ));
    assert!(matches!(
        ring::create(&file),
        Err(ring::RingError::File(PrivateFileError::Exists { .. }))
    ));
    // A link that leads nowhere is there, too.
    let link = directory.path().join("link");
    symlink(directory.path().join("nowhere"), &link).unwrap();
    assert!(KeyFile::create(&link, "log.example", SignatureType::Ed25519).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "what was there");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    assert!(matches!(
        KeyFile::create(&directory.path().join("x"), "two words", SignatureType::Ed25519),
        Err(KeyFileError::Content {
            what: KeyTextError::Key { .. },
            ..
        })
    ));
}

#[test]
fn rotations_at_once_come_one_after_the_other() {
    let (_directory, file) = place();
    KeyFile::create(&file, "log.example", SignatureType::Ed25519).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| KeyFile::rotate(&file).unwrap());
        }
    });
    assert_eq!(KeyFile::read(&file).unwrap().verifiers().len(), 9);
}

#[test]
fn a_ring_grows_at_its_head() {
    let (_directory, file) = place();
    assert_eq!(ring::create(&file).unwrap(), "k1");
    let first = fs::read_to_string(&file).unwrap();
    assert_eq!(ring::rotate(&file).unwrap(), "k2");
    let both = fs::read_to_string(&file).unwrap();
    assert!(both.starts_with("k2 ") && both.ends_with(&first));
    assert_eq!(ring::read_ids(&file).unwrap(), ["k2", "k1"]);
    let digits = "0123456789abcdef".repeat(4);
    for text in [
        "",
        "\n",
        "k1\n",
        "k1 abc\n",
        &format!("k1 {digits}\nk1 {digits}\n"),
    ] {
        write(&file, text, 0o600);
        assert!(ring::rotate(&file).is_err(), "{text:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    write(&file, &format!("k3 {digits}\nmine {digits}\n"), 0o600);
    assert_eq!(ring::rotate(&file).unwrap(), "k4");
}
