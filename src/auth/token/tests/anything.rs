//! Anything at all in the place of a token: refused, and no panic.

use proptest::prelude::*;

use super::*;

#[test]
fn every_other_character_at_every_place_breaks_a_token() {
    let token = sign(the_key(), &header(the_key()), CLAIMS).into_bytes();
    for place in 0..token.len() {
        for other in (0..128).filter(|other| *other != token[place]) {
            let mut bad = token.clone();
            bad[place] = other;
            assert!(verify(&KEYS, str::from_utf8(&bad).unwrap()).is_err(), "{place} {other}");
        }
    }
}

/// Tokens of the asymmetric kinds, with the sets that believe them.
static SIGNED: LazyLock<Vec<(KeySet, String)>> = LazyLock::new(|| {
    [Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::Es384, Alg::EdDsa]
        .into_iter()
        .map(|alg| {
            let key = key(alg);
            let token = sign(&key, &header(&key), CLAIMS);
            (set([key]), token)
        })
        .collect()
});

proptest! {
    #[test]
    fn a_changed_token_is_never_believed(
        which in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (keys, token) = &SIGNED[which];
        let mut bytes = token.clone().into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let bad = String::from_utf8_lossy(&bytes);
        prop_assume!(bad != token.as_str());
        prop_assert!(verify(keys, &bad).is_err());
    }

    #[test]
    fn no_text_is_a_token_or_a_panic(text in "\\PC{0,200}", dots in "[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(verify(&KEYS, &text).is_err());
        prop_assert!(verify(&KEYS, &dots).is_err());
    }

    #[test]
    fn no_signed_json_is_a_panic(header in "\\PC{0,80}", claims in "\\PC{0,80}") {
        prop_assert!(verify(&KEYS, &sign(the_key(), &header, &claims)).is_err());
        prop_assert!(with_claims(&claims).is_err());
    }
}
