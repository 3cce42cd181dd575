//! Archives of code that would be written elsewhere, or unpack to more than there is room for.

use super::victim::Victim;
use crate::farm::Extra;
use crate::polyaxon::Polyaxon;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;
use std::io::Write as _;
use tar::EntryType;

const PROJECT: &str = "ann/hill";

struct Scene<'v> {
    victim: &'v Victim,
    ann: Polyaxon,
}

#[tokio::test]
async fn no_archive_is_more_than_code() {
    let victim = Victim::with(&Extra {
        master: "max_code_upload_bytes = 1048576\ngit_max_work_tree_bytes = 16777216\ngit_max_entries = 5000",
        ..Extra::default()
    })
    .await;
    let ann = victim.farm.polyaxon_user("ann").await;
    let project = json!({"name": "hill"});
    let (status, made) = ann.ask(Method::POST, "projects/", Some(project)).await;
    assert!(status.is_success(), "{made}");
    let scene = Scene {
        victim: &victim,
        ann,
    };
    suffer!(
        victim with scene,
        names_that_slip_out,
        links_that_lead_out,
        members_that_are_no_files,
        a_bomb_of_zeros,
        heads_that_declare_more_than_there_is,
        archives_in_archives,
        broken_multipart,
        what_is_no_archive,
    );
    let hill = scene.ann.get(PROJECT).await;
    assert_eq!(hill["has_code"], false);
    victim.lives().await;
}

/// A member: its name, kind, where it leads, and its content.
type Member<'a> = (&'a [u8], EntryType, &'a str, &'a [u8]);

fn packed(tar: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(tar).unwrap();
    packed.finish().unwrap()
}

/// A head, with a name that the library would refuse to write.
fn head((name, kind, link, content): Member<'_>, size: u64) -> Vec<u8> {
    let mut head = tar::Header::new_gnu();
    head.set_mode(0o644);
    head.set_size(size);
    head.set_entry_type(kind);
    head.set_link_name(link).ok();
    head.as_mut_bytes()[..name.len()].copy_from_slice(name);
    head.set_cksum();
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members
        .iter()
        .flat_map(|member| head(*member, member.3.len() as u64))
        .collect();
    bytes.extend([0; 1024]);
    bytes
}

impl Scene<'_> {
    async fn refuses(&self, archive: &[u8], what: &str) {
        let (status, body) = self.ann.upload(PROJECT, archive).await;
        assert!(status.is_client_error(), "{what}: {status} {body}");
    }
}

async fn names_that_slip_out(scene: &Scene<'_>) {
    for name in [
        &b"../x"[..],
        b"/tmp/x",
        b"a/../../x",
        b"..",
        b".git/hooks/post-checkout",
        b".GIT/config",
        b"a/.git",
        b"git~1/config",
        b".g\xe2\x80\x8cit/config",
        b"a\nb",
        b"\x1b[2J",
        b"./../x",
    ] {
        let archive = packed(&tar(&[(name, EntryType::Regular, "", b"x")]));
        scene
            .refuses(&archive, &String::from_utf8_lossy(name))
            .await;
    }
}

async fn links_that_lead_out(scene: &Scene<'_>) {
    let link = EntryType::Symlink;
    for members in [
        &[(&b"l"[..], link, "/etc/passwd", &b""[..])][..],
        &[(b"l", link, "../x", b"")],
        &[(b"l", link, ".", b""), (b"x", link, "l/l/../../x", b"")],
        &[
            (b"l", link, "d", b""),
            (b"l/x", EntryType::Regular, "", b"x"),
        ],
        &[(b"h", EntryType::Link, "/etc/passwd", b"")],
        &[(b"h", EntryType::Link, "../x", b"")],
    ] {
        scene
            .refuses(&packed(&tar(members)), &format!("{members:?}"))
            .await;
    }
}

async fn members_that_are_no_files(scene: &Scene<'_>) {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let archive = packed(&tar(&[(b"x", kind, "", b"")]));
        scene.refuses(&archive, &format!("{kind:?}")).await;
    }
    let twice = [
        (&b"x"[..], EntryType::Regular, "", &b"x"[..]),
        (b"x/y", EntryType::Regular, "", b"y"),
    ];
    scene
        .refuses(&packed(&tar(&twice)), "a file that is a directory")
        .await;
    let mut members = Vec::new();
    for number in 0..6_000 {
        members.extend(head(
            (format!("{number}").as_bytes(), EntryType::Regular, "", b""),
            0,
        ));
    }
    scene
        .refuses(&packed(&members), "more files than are taken")
        .await;
}

/// More megabytes of nothing than there is room for, in a few kilobytes.
async fn a_bomb_of_zeros(scene: &Scene<'_>) {
    let size = 32 << 20;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed
        .write_all(&head((b"x", EntryType::Regular, "", b""), size))
        .unwrap();
    for _ in 0..32 {
        packed.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 1 << 20, "{}", packed.len());
    scene.refuses(&packed, "zeros").await;
}

async fn heads_that_declare_more_than_there_is(scene: &Scene<'_>) {
    for (kind, size) in [
        (EntryType::Regular, 1 << 40),
        (EntryType::Regular, u64::MAX >> 2),
        (EntryType::GNULongName, 1 << 31),
        (EntryType::XHeader, 1 << 31),
        (EntryType::GNUSparse, 1 << 31),
    ] {
        let archive = packed(&head((b"x", kind, "", b"x"), size));
        scene
            .refuses(&archive, &format!("{kind:?} of {size}"))
            .await;
    }
}

/// 42.zip and its like: what is packed in what is packed is a file, and nobody opens it.
async fn archives_in_archives(scene: &Scene<'_>) {
    let inner = packed(&vec![0; 16 << 20]);
    let twice = packed(&packed(&inner));
    scene.refuses(&twice, "gzip in gzip").await;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for name in ["0.zip", "../1.zip", "/2.zip"] {
        zip.start_file(name, options).unwrap();
        zip.write_all(&inner).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    scene.refuses(&zip, "a zip").await;
}

async fn broken_multipart(scene: &Scene<'_>) {
    let token = format!("token {}", scene.ann.token());
    let path = format!("/api/v1/{PROJECT}/repo/upload/");
    let many = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n".repeat(20_000);
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"repo\"; filename=\"{}\"\r\n\r\nx\r\n--b--",
        "../".repeat(100_000)
    );
    for (kind, body) in [
        ("multipart/form-data", "x".to_owned()),
        ("multipart/form-data; boundary=", "x".to_owned()),
        ("multipart/form-data; boundary=\"", "x".to_owned()),
        ("multipart/form-data; boundary=b", String::new()),
        ("multipart/form-data; boundary=b", "--b".to_owned()),
        ("multipart/form-data; boundary=b", "--b\r\n\r\n".to_owned()),
        ("multipart/form-data; boundary=b", "--b--".to_owned()),
        ("multipart/form-data; boundary=b", many),
        ("multipart/form-data; boundary=b", head),
        ("multipart/mixed; boundary=b", "--b\r\n\r\n--b--".to_owned()),
        ("application/json", "{}".to_owned()),
    ] {
        let headers = [("authorization", token.as_str()), ("content-type", kind)];
        let answer = scene
            .victim
            .asks("PUT", &path, &headers, body.as_bytes())
            .await;
        assert!((400..500).contains(&answer.status), "{kind}: {answer:?}");
    }
}

async fn what_is_no_archive(scene: &Scene<'_>) {
    let good = packed(&tar(&[(b"x", EntryType::Regular, "", b"x")]));
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    for bytes in [
        &b""[..],
        b"\x1f\x8b",
        b"PK\x03\x04",
        &good[..good.len() - 8],
        &damaged,
        &[7; 5_000],
    ] {
        scene
            .refuses(bytes, &format!("{} bytes", bytes.len()))
            .await;
    }
}
