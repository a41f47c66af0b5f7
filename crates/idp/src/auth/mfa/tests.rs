use super::*;

use MfaFactor::{EmailOtp, SmsMfa, SoftwareTokenMfa};
use UserPoolMfaType::{Off, On, Optional};

/// Every set of factors.
fn sets() -> impl Iterator<Item = BTreeSet<MfaFactor>> + Clone {
    (0..8).map(|bits| {
        let factors = MfaFactor::ALL.into_iter().enumerate();
        factors.filter(|(index, _)| bits >> index & 1 == 1).map(|(_, factor)| factor).collect()
    })
}

fn situation(mode: UserPoolMfaType, available: &[MfaFactor], possible: &[MfaFactor]) -> Situation {
    Situation {
        mode,
        available: available.iter().copied().collect(),
        enabled: BTreeSet::new(),
        preferred: None,
        possible: possible.iter().copied().collect(),
        recovers: None,
    }
}

/// The rules of the decision, each in its own words, for every pool and every user.
#[test]
fn the_decision_follows_its_table() {
    let preferences = MfaFactor::ALL.into_iter().map(Some).chain([None]);
    let recoveries = [None, Some(SmsMfa), Some(EmailOtp)];
    for mode in [Off, Optional, On] {
        for available in sets() {
            for enabled in sets() {
                for possible in sets() {
                    for preferred in preferences.clone() {
                        for recovers in recoveries {
                            follows(&Situation {
                                mode,
                                available: available.clone(),
                                enabled: enabled.clone(),
                                preferred,
                                possible: possible.clone(),
                                recovers,
                            });
                        }
                    }
                }
            }
        }
    }
}

fn follows(situation: &Situation) {
    let Situation { mode, available, enabled, preferred, possible, recovers } = situation;
    let can = |factor: &MfaFactor| available.contains(factor) && possible.contains(factor);
    let counts: Vec<MfaFactor> = MfaFactor::ALL
        .into_iter()
        .filter(|factor| {
            can(factor) && (enabled.contains(factor) || (*mode == On && *recovers != Some(*factor)))
        })
        .collect();
    let due = situation.due();
    match (*mode, preferred.filter(|preferred| counts.contains(preferred)), &counts[..]) {
        (Off, ..) => assert_eq!(due, Ok(None), "{situation:?}"),
        (_, Some(preferred), _) => assert_eq!(due, Ok(Some(Due::Factor(preferred))), "{situation:?}"),
        (_, None, [only]) => assert_eq!(due, Ok(Some(Due::Factor(*only))), "{situation:?}"),
        (_, None, [_, _, ..]) => assert_eq!(due, Ok(Some(Due::Select(counts))), "{situation:?}"),
        (Optional, None, []) => assert_eq!(due, Ok(None), "{situation:?}"),
        (On, None, []) => {
            let choices: Vec<MfaFactor> = [EmailOtp, SoftwareTokenMfa]
                .into_iter()
                .filter(|factor| available.contains(factor) && !possible.contains(factor))
                .collect();
            match choices.is_empty() {
                true => assert_eq!(due, Err(fault::no_second_factor()), "{situation:?}"),
                false => assert_eq!(due, Ok(Some(Due::Setup(choices))), "{situation:?}"),
            }
        }
    }
}

/// The same by example, so that no mistake can hide in the words of the test above.
#[test]
fn the_decision_by_example() {
    let everything = MfaFactor::ALL;
    assert_eq!(situation(Off, &everything, &everything).due(), Ok(None));
    assert_eq!(situation(Optional, &everything, &everything).due(), Ok(None), "nothing is turned on");
    let mut user = situation(Optional, &everything, &everything);
    user.enabled.insert(SoftwareTokenMfa);
    assert_eq!(user.due(), Ok(Some(Due::Factor(SoftwareTokenMfa))));
    user.enabled.insert(SmsMfa);
    assert_eq!(user.due(), Ok(Some(Due::Select(vec![SmsMfa, SoftwareTokenMfa]))));
    user.preferred = Some(SmsMfa);
    assert_eq!(user.due(), Ok(Some(Due::Factor(SmsMfa))));
    user.available.remove(&SmsMfa);
    assert_eq!(user.due(), Ok(Some(Due::Factor(SoftwareTokenMfa))), "the preferred one is not to be had");

    let none = situation(On, &everything, &[]).due();
    assert_eq!(none, Ok(Some(Due::Setup(vec![EmailOtp, SoftwareTokenMfa]))));
    assert_eq!(situation(On, &[SmsMfa], &[]).due(), Err(fault::no_second_factor()));
    assert_eq!(situation(On, &[SmsMfa], &[SmsMfa]).due(), Ok(Some(Due::Factor(SmsMfa))));
    let recovering = Situation { recovers: Some(SmsMfa), ..situation(On, &everything, &[SmsMfa]) };
    assert_eq!(recovering.due(), Ok(Some(Due::Setup(vec![EmailOtp, SoftwareTokenMfa]))));
    let turned_on = Situation { enabled: [SmsMfa].into(), ..recovering };
    assert_eq!(turned_on.due(), Ok(Some(Due::Factor(SmsMfa))));
}
