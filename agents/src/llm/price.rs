//! What tokens cost.

use std::collections::BTreeMap;

use super::{ModelName, Usage};

/// What a million tokens cost, in whatever cost is counted in. So it is also what one token costs in millionths of that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Of what is said to the model.
    pub input: f64,
    /// Of what it says.
    pub output: f64,
}

/// Prices by model. What has no price costs nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices(pub BTreeMap<ModelName, Price>);

impl Prices {
    /// What these tokens cost, in millionths, rounded up.
    pub fn cost(&self, model: &ModelName, usage: Usage) -> u64 {
        let Some(price) = self.0.get(model) else { return 0 };
        let micros = usage.input_tokens as f64 * price.input + usage.output_tokens as f64 * price.output;
        // From a float, which saturates.
        micros.ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_for_a_million_tokens_and_a_cost_in_millionths() {
        let model: ModelName = "a/b".parse().unwrap();
        let prices = Prices(BTreeMap::from([(model.clone(), Price { input: 1.25, output: 10.0 })]));
        let usage = Usage { input_tokens: 1_000, output_tokens: 3, estimated: false };
        assert_eq!(prices.cost(&model, usage), 1_280);
        assert_eq!(prices.cost(&"a/c".parse().unwrap(), usage), 0);
    }
}
