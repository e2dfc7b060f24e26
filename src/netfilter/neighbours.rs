//! Other firewalls on the same machine: what one of them drops is dropped, whatever our table says.

use serde::Deserialize;

#[derive(Deserialize)]
struct Listed {
    nftables: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

/// From what `nft -j list chains` prints; ours drops nothing by its policy.
pub fn that_drop(json: &[u8]) -> serde_json::Result<Vec<String>> {
    let chains = serde_json::from_slice::<Listed>(json)?.nftables.into_iter().filter_map(|entry| entry.chain);
    let drops = |chain: &Chain| chain.hook.as_deref() == Some("forward") && chain.policy.as_deref() == Some("drop");
    let name = |chain: Chain| format!("{} {} {}", chain.family, chain.table, chain.name);
    Ok(chains.filter(drops).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_others_is_found() {
        let json = br#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1, "type": "filter",
                "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input", "policy": "drop"}},
            {"chain": {"family": "inet", "table": "wgsub", "name": "forward", "hook": "forward", "policy": "accept"}},
            {"chain": {"family": "inet", "table": "wgsub", "name": "through", "handle": 4}}]}"#;
        assert_eq!(that_drop(json).unwrap(), ["ip filter FORWARD"]);
    }
}
