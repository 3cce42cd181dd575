use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const SECRET: &str = "s3cr3t/+ü'v \"x\"";

fn masked(secret: &str, text: &str) -> String {
    let mask = Arc::new(Mask::of([secret]));
    String::from_utf8_lossy(&mask.mask(text.as_bytes())).into_owned()
}

/// What comes out when a text comes in these pieces; after each, what is out already.
fn in_pieces(mask: &Arc<Mask>, pieces: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut masking = Masking::new(Arc::clone(mask));
    let (mut output, mut lengths) = (Vec::new(), Vec::new());
    for piece in pieces {
        masking.push(piece, &mut output);
        lengths.push(output.len());
    }
    masking.finish(&mut output);
    (output, lengths)
}

#[test]
fn it_is_masked_in_every_form() {
    let json = serde_json::to_string(SECRET).unwrap();
    let url: String = form_of_url(SECRET);
    let forms = [
        SECRET.to_owned(),
        json,
        url,
        hex::encode(SECRET),
        hex::encode(SECRET).to_uppercase(),
        STANDARD.encode(SECRET),
        STANDARD.encode(format!("user:{SECRET}")),
        STANDARD.encode(format!("u:{SECRET}@host")),
        STANDARD.encode(format!("{SECRET}\n")),
    ];
    for form in &forms {
        let text = format!("before {form} after");
        let out = masked(SECRET, &text);
        assert!(
            out.starts_with("before ") && out.ends_with(" after"),
            "{out}"
        );
        assert!(out.contains("***"), "{form}: {out}");
        assert!(out.len() < "before  after".len() + 16, "{form}: {out}");
    }
    assert_eq!(masked(SECRET, &forms[5]), "***");
    assert_eq!(masked(SECRET, &forms[8]), "***");
}

#[test]
fn dumps_are_masked() {
    let secret = "a-token-of-more-than-one-line";
    let dumped = |text: &str| -> String {
        let line = |bytes: &[u8]| -> String {
            let pairs: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
            format!("{pairs}\n")
        };
        text.as_bytes().chunks(16).map(line).collect()
    };
    assert_eq!(masked(secret, &dumped(secret)), " ***\n");
    // As `echo` has it.
    let line = format!("{secret}\n");
    assert_eq!(masked(secret, &dumped(&line)), " *** 0a\n");
    let on_one_line = dumped(secret).replace('\n', "");
    assert_eq!(masked(secret, &on_one_line.to_uppercase()), " ***");
}

fn form_of_url(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    encoded.collect()
}

#[test]
fn lines_of_it_are_masked_by_themselves() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----\n";
    assert_eq!(masked(key, "x MIIEvQIBADANBg y"), "x *** y");
    assert_eq!(masked(key, "a short line"), "a short line");
    assert_eq!(
        masked(key, &key.replace('\n', "\r\n")),
        "***\r\n***\r\nshort\r\n***\r\n"
    );
}

#[test]
fn indentation_is_not_masked() {
    let key = "{\n        \"key\": \"MIIEvQIBADANBg\"\n        },\n          \n}";
    let report = "<a>\n        <b/>\n        },\n</a>";
    assert_eq!(masked(key, report), report);
    assert_eq!(masked(key, "x \"key\": \"MIIEvQIBADANBg\" y"), "x *** y");
}

#[test]
fn base64_is_found_across_its_line_breaks() {
    let secret = "0123456789-abcdefghij-ABCDEFGHIJ";
    for before in 0..60 {
        let text = STANDARD.encode(format!("{}{secret}", "x".repeat(before)));
        for line_break in ["\n", "\r\n"] {
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(20)
                .map(|line| str::from_utf8(line).unwrap())
                .collect();
            let out = masked(secret, &lines.join(line_break)).replace(['\n', '\r'], "");
            assert!(out.contains("***"), "{before}");
            // What is left of it are bits that others are in, too, and what stood before a break that came at once.
            let left = out.len() - (before * 8 / 6) - 3;
            assert!(left <= 8, "{before}: {left} of {out}");
        }
    }
}

#[test]
fn adjacent_secrets_are_one_mask_and_overlapping_ones_are_covered() {
    let mask = Arc::new(Mask::of(["abcdefgh", "efghijkl"]));
    let of = |text: &str| String::from_utf8(mask.mask(text.as_bytes())).unwrap();
    assert_eq!(of("abcdefghabcdefgh"), "***");
    assert_eq!(of("-abcdefghijkl-"), "-***-");
    assert_eq!(of("abcdefgh efghijkl"), "*** ***");
    assert_eq!(of("abcdefg efghijk"), "abcdefg efghijk");
}

#[test]
fn only_what_may_become_a_secret_is_held_back() {
    let mask = Arc::new(Mask::of(["hunter2-hunter3"]));
    let pieces: [&[u8]; 4] = [b"password: ", b"hunter2-", b"hunter", b"4\n"];
    let (output, lengths) = in_pieces(&mask, &pieces);
    assert_eq!(output, b"password: hunter2-hunter4\n");
    assert_eq!(lengths, [10, 10, 10, output.len()]);
    // A line that ends as base64 of it begins comes whole, too.
    let text = format!("DONE {}\n", &STANDARD.encode("hunter2-hunter3")[..1]);
    let (_, lengths) = in_pieces(&mask, &[text.as_bytes()]);
    assert_eq!(lengths, [text.len()]);
}

#[test]
fn nothing_is_masked_without_a_secret_or_with_a_short_one() {
    for mask in [Mask::default(), Mask::of(["1234567"])] {
        assert!(mask.is_empty());
        assert_eq!(Arc::new(mask).mask(b"1234567"), b"1234567");
    }
}

#[test]
fn it_is_not_shown() {
    let mask = Arc::new(Mask::of([SECRET]));
    let mut masking = Masking::new(Arc::clone(&mask));
    masking.push(b"s3cr3t", &mut Vec::new());
    let shown = format!("{mask:?} {masking:?}");
    assert!(
        !shown.contains("s3cr3t") && !shown.contains("115"),
        "{shown}"
    );
}

#[test]
fn a_long_secret_costs_no_more_than_it_must() {
    let secret = "ab".repeat(32 << 10);
    let mask = Arc::new(Mask::of([secret.as_str()]));
    assert_eq!(mask.mask(secret.as_bytes()), MASKED);
}

fn split<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for cut in cuts.into_iter().chain([text.len()]) {
        pieces.push(&text[from..cut]);
        from = cut;
    }
    pieces
}

proptest! {
    /// Wherever the output is cut, what comes out is the same, and has no form of the secret.
    #[test]
    fn pieces_make_no_difference(
        secret in "[a-c/+ \"'é]{8,40}(\n[a-c]{3,12})?",
        others in prop::collection::vec("[a-c/+ \"'é\n]{0,12}", 1..6),
        forms in prop::collection::vec(0_usize..10, 1..5),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let mask = Arc::new(Mask::of([secret.as_str()]));
        let all: Vec<String> = [
            secret.clone(),
            STANDARD.encode(&secret),
            STANDARD.encode(format!("x{secret}")),
            STANDARD.encode(format!("xy{secret}zz")),
            form_of_url(&secret),
            serde_json::to_string(&secret).unwrap(),
            hex::encode(&secret),
            // Torn off: it is none.
            secret.chars().take(4).collect(),
            secret.chars().skip(1).collect(),
            STANDARD.encode(&secret).chars().take(7).collect(),
        ].into();
        let mut text = String::new();
        for (index, form) in forms.iter().enumerate() {
            text.push_str(&others[index % others.len()]);
            text.push_str(&all[*form]);
        }
        let whole = mask.mask(text.as_bytes());
        let (in_pieces, _) = in_pieces(&mask, &split(text.as_bytes(), &cuts));
        prop_assert_eq!(&in_pieces, &whole);
        let has = |pattern: &Pattern| whole.windows(pattern.text.len()).any(|part| part == pattern.text);
        prop_assert!(!mask.patterns.iter().any(has));
    }

    /// What has nothing of the secret comes through as it is.
    #[test]
    fn other_texts_stay(text in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(any::<usize>(), 0..9)) {
        let mask = Arc::new(Mask::of(["5f3a9c0b7e214d68a1c9"]));
        let (output, _) = in_pieces(&mask, &split(&text, &cuts));
        prop_assert_eq!(output, text);
    }
}
