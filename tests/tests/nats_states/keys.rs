//! More keys than the server tells in one answer.

use callboard_broker::state::{Key, Moment};

use super::Real;

#[tokio::test]
async fn any_number_of_keys_is_listed_now_and_in_the_past() {
    let real = Real::start().await;
    let mut last = 0;
    for n in 0..2_500 {
        last = real.store(&format!("$KV.cb_state.team.t.k{n:04}"), "1").await;
    }
    real.store("$KV.cb_state.team.t.k0000", "2").await;
    real.store("$KV.cb_state.team.u.k", "2").await;
    let states = &real.broker.states;
    let now = states.list("team.t".into()).await.unwrap();
    assert_eq!(now.len(), 2_500);
    assert!(now.is_sorted_by_key(|entry| entry.key.clone()));
    assert_eq!(now[0].value, serde_json::json!(2).into());
    let then = states.at(Moment::Sequence(last), "team".into()).await.unwrap();
    assert_eq!((then.len(), &then[0].value), (2_500, &serde_json::json!(1).into()));
    assert_eq!(states.at(Moment::Sequence(1_700), String::new()).await.unwrap().len(), 1_700);
    let keys: Vec<Key> = now.iter().rev().map(|entry| entry.key.clone()).collect();
    let got = states.get(keys.clone()).await.unwrap();
    assert!(got.iter().zip(&keys).all(|(entry, key)| entry.as_ref().is_some_and(|entry| entry.key == *key)));
}
