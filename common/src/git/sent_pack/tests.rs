use super::*;
use crate::git::GitLimits;
use git2::{PackBuilder, Repository, Signature, Time};
use std::fs;

struct Folder {
    directory: tempfile::TempDir,
    repository: Repository,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path().join("repository")).unwrap();
        Self {
            directory,
            repository,
        }
    }

    fn commit(&self, content: &[u8], parents: &[Oid]) -> Oid {
        let blob = self.repository.blob(content).unwrap();
        let mut tree = self.repository.treebuilder(None).unwrap();
        tree.insert("file", blob, 0o100_644).unwrap();
        let tree = tree.write().unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let who = Signature::new("a", "a@b", &Time::new(0, 0)).unwrap();
        let parents = parents
            .iter()
            .map(|id| self.repository.find_commit(*id).unwrap());
        let parents: Vec<_> = parents.collect();
        let parents: Vec<_> = parents.iter().collect();
        let made = self
            .repository
            .commit(None, &who, &who, "m", &tree, &parents);
        made.unwrap()
    }

    /// A pack of a commit with its tree.
    fn pack(&self, add: impl Fn(&mut PackBuilder<'_>)) -> PathBuf {
        let mut builder = self.repository.packbuilder().unwrap();
        add(&mut builder);
        let mut bytes = git2::Buf::new();
        builder.write_buf(&mut bytes).unwrap();
        let path = self.directory.path().join("sent");
        fs::write(&path, &*bytes).unwrap();
        path
    }

    fn check(
        &self,
        pack: &Path,
        commit: Oid,
        limits: GitLimits,
    ) -> Result<SentPack, SentPackError> {
        let into = tempfile::tempdir_in(self.directory.path()).unwrap();
        let commit = CommitId::from_oid(commit);
        let never = CancellationToken::new();
        check_sent_pack(pack, &commit, (&[], into.path()), limits, &never)
    }

    fn refusal(&self, pack: &Path, commit: Oid, limits: GitLimits) -> String {
        match self.check(pack, commit, limits) {
            Err(SentPackError::Refused(text) | SentPackError::TooLarge(text)) => text,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_pack_tells_its_commits_and_those_before_them() {
    let folder = Folder::new();
    let first = folder.commit(b"one", &[]);
    let second = folder.commit(b"two", &[first]);
    let third = folder.commit(b"three", &[second]);
    let pack = folder.pack(|pack| {
        pack.insert_commit(second).unwrap();
        pack.insert_commit(third).unwrap();
    });
    let found = folder.check(&pack, third, GitLimits::default()).unwrap();
    assert_eq!(found.bases, [CommitId::from_oid(first)]);
    assert_eq!(found.objects, 6);
    let refused = folder.refusal(&pack, first, GitLimits::default());
    assert_eq!(refused, format!("The pack has no commit {first}."));
    let alone = folder.pack(|pack| pack.insert_commit(first).unwrap());
    let found = folder.check(&alone, first, GitLimits::default()).unwrap();
    assert_eq!((found.bases, found.objects), (Vec::new(), 3));
}

#[test]
fn what_earlier_packs_have_is_no_base() {
    let folder = Folder::new();
    let first = folder.commit(b"one", &[]);
    let second = folder.commit(b"two", &[first]);
    let third = folder.commit(b"three", &[second]);
    let earlier = folder.pack(|pack| pack.insert_commit(second).unwrap());
    let kept = tempfile::tempdir().unwrap();
    let (never, limits) = (CancellationToken::new(), GitLimits::default());
    let id = CommitId::from_oid;
    let earlier = check_sent_pack(&earlier, &id(second), (&[], kept.path()), limits, &never);
    let earlier = earlier.unwrap();
    assert_eq!(earlier.bases, [id(first)]);
    let pack = folder.pack(|pack| pack.insert_commit(third).unwrap());
    let into = tempfile::tempdir().unwrap();
    let indexes = [earlier.index];
    let found = check_sent_pack(&pack, &id(third), (&indexes, into.path()), limits, &never);
    assert_eq!(found.unwrap().bases, []);
    let asked = [id(first), id(second), id(third)];
    let missing = missing_objects(&asked, &indexes).unwrap();
    assert_eq!(missing, [id(first), id(third)]);
}

#[test]
fn what_stands_for_too_much_is_refused_before_it_is_unpacked() {
    let folder = Folder::new();
    let commit = folder.commit(&vec![0; 1 << 20], &[]);
    let pack = folder.pack(|pack| pack.insert_commit(commit).unwrap());
    assert!(fs::metadata(&pack).unwrap().len() < 10_000);
    folder.check(&pack, commit, GitLimits::default()).unwrap();
    let of_file = GitLimits {
        file_bytes: (1 << 20) - 1,
        ..GitLimits::default()
    };
    let refused = folder.refusal(&pack, commit, of_file);
    assert!(refused.contains("git_max_file_bytes"), "{refused}");
    let of_all = GitLimits {
        work_tree_bytes: 1 << 20,
        ..GitLimits::default()
    };
    let refused = folder.refusal(&pack, commit, of_all);
    assert!(refused.contains("git_max_work_tree_bytes"), "{refused}");
    let of_number = GitLimits {
        entries: 2,
        ..GitLimits::default()
    };
    let refused = folder.refusal(&pack, commit, of_number);
    assert!(refused.contains("git_max_entries"), "{refused}");
}

#[test]
fn a_delta_counts_by_what_it_makes() {
    let folder = Folder::new();
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let first = folder.commit(&noise, &[]);
    let mut changed = noise;
    changed[0] ^= 1;
    let second = folder.commit(&changed, &[first]);
    let pack = folder.pack(|pack| {
        pack.insert_commit(first).unwrap();
        pack.insert_commit(second).unwrap();
    });
    // One of the two files is a delta of a few bytes.
    assert!(fs::metadata(&pack).unwrap().len() < 1_000_000);
    folder.check(&pack, second, GitLimits::default()).unwrap();
    let limits = GitLimits {
        work_tree_bytes: 1_500_000,
        ..GitLimits::default()
    };
    let refused = folder.refusal(&pack, second, limits);
    assert!(refused.contains("git_max_work_tree_bytes"), "{refused}");
}

#[test]
fn what_is_no_whole_pack_is_refused() {
    let folder = Folder::new();
    let commit = folder.commit(b"one", &[]);
    let pack = folder.pack(|pack| pack.insert_commit(commit).unwrap());
    let good = fs::read(&pack).unwrap();
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    for bytes in [
        Vec::new(),
        b"PACK".to_vec(),
        good[..good.len() - 1].to_vec(),
        good[..20].to_vec(),
        [&good[..], b"more"].concat(),
        with(0, b'Q'),
        with(7, 9),
        // More objects than there are.
        with(11, 200),
        // Of no kind.
        with(12, 0x50),
        // The trailer.
        with(good.len() - 1, good[good.len() - 1] ^ 1),
    ] {
        fs::write(&pack, &bytes).unwrap();
        folder.refusal(&pack, commit, GitLimits::default());
    }
    // Lengths that never end.
    let mut endless = good[..12].to_vec();
    endless.extend([0xff; 40]);
    fs::write(&pack, endless).unwrap();
    let refused = folder.refusal(&pack, commit, GitLimits::default());
    assert!(refused.contains("too long"), "{refused}");
}
