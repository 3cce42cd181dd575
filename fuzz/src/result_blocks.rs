//! Blocks of results, as slaves send them, and the archives of the original's slaves.

use clusterrunner_common::ids::SubjobId;
use clusterrunner_common::results::block::{check_block, convert_archive, copy_results};
use clusterrunner_common::results::tar_reader::TarReader;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{self, Write as _};

/// A block is refused, or each of its results can be taken out of it and is then what it was. An archive of the
/// original is refused, or becomes a block whose members can be gone through.
///
/// # Panics
/// Something else happens.
pub fn result_blocks(archive: &[u8]) {
    let block = gzip(archive);
    if let Ok(results) = check_block(block.as_slice()) {
        for result in &results {
            let mut part = Vec::new();
            let place = (result.offset, result.length);
            let offsets = copy_results(block.as_slice(), [place].into_iter(), &mut part)
                .expect("a result can be taken out of a block that was checked");
            assert_eq!(offsets, [0]);
            let checked =
                check_block(part.as_slice()).expect("a result that was taken out can be checked");
            let [copy] = checked.as_slice() else {
                panic!("one result became {}", checked.len());
            };
            assert_eq!((copy.subjob, &copy.atoms), (result.subjob, &result.atoms));
        }
        go_through(&block).expect("the members of a block that was checked can be gone through");
    }
    let mut converted = Vec::new();
    if let Ok(result) = convert_archive(block.as_slice(), SubjobId(0), 2, &mut converted) {
        assert_eq!((result.subjob, result.atoms.len()), (SubjobId(0), 2));
        // Its members may lie in any order, which `check_block` does not take.
        go_through(&converted)
            .expect("the members of a block made of an archive can be gone through");
    }
}

fn go_through(block: &[u8]) -> io::Result<()> {
    let mut members = TarReader::new(GzDecoder::new(block));
    while members.next_member()?.is_some() {}
    Ok(())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::none());
    out.write_all(bytes).expect("memory can be written");
    out.finish().expect("memory can be written")
}
