//! Ids of the public regions, for hints only: regions that are not listed work as well.

/// Ids, and what people call the region where the id does not tell.
const REGIONS: [(&str, &[&str]); 34] = [
    ("cn-hangzhou", &["hangzhou"]),
    ("cn-shanghai", &["shanghai"]),
    ("cn-beijing", &["beijing"]),
    ("cn-shenzhen", &["shenzhen"]),
    ("cn-qingdao", &["qingdao"]),
    ("cn-zhangjiakou", &["zhangjiakou"]),
    ("cn-huhehaote", &["huhehaote", "hohhot"]),
    ("cn-wulanchabu", &["wulanchabu", "ulanqab"]),
    ("cn-heyuan", &["heyuan"]),
    ("cn-guangzhou", &["guangzhou"]),
    ("cn-chengdu", &["chengdu"]),
    ("cn-nanjing", &["nanjing"]),
    ("cn-fuzhou", &["fuzhou"]),
    ("cn-wuhan-lr", &["wuhan"]),
    ("cn-zhengzhou-jva", &["zhengzhou"]),
    ("cn-hongkong", &["hongkong", "hong-kong"]),
    ("ap-northeast-1", &["tokyo", "japan"]),
    ("ap-northeast-2", &["seoul", "korea", "south-korea"]),
    ("ap-southeast-1", &["singapore"]),
    ("ap-southeast-2", &["sydney", "australia"]),
    ("ap-southeast-3", &["kuala-lumpur", "malaysia"]),
    ("ap-southeast-5", &["jakarta", "indonesia"]),
    ("ap-southeast-6", &["manila", "philippines"]),
    ("ap-southeast-7", &["bangkok", "thailand"]),
    ("ap-south-1", &["mumbai", "india"]),
    ("us-west-1", &["silicon-valley", "california"]),
    ("us-east-1", &["virginia"]),
    ("us-southeast-1", &["atlanta"]),
    ("na-south-1", &["mexico"]),
    ("eu-central-1", &["frankfurt", "germany"]),
    ("eu-west-1", &["london", "uk"]),
    ("me-east-1", &["dubai", "uae"]),
    ("me-central-1", &["riyadh", "saudi-arabia"]),
    ("cn-hangzhou-finance", &[]),
];

/// The id of the public region that an invalid one may mean: `Hangzhou`, `cn_hangzhou`,
/// `CN-Beijing`, `Hong Kong`, `tokyo`, and with a typing error `cn-hangzou`.
pub fn meant_by(text: &str) -> Option<&'static str> {
    let plain = text.trim().to_lowercase().replace(['_', ' '], "-");
    let is_meant = |(id, names): &&(&str, &[&str])| {
        *id == plain || names.contains(&&*plain) || id.replace('-', "") == plain
    };
    let meant = REGIONS.iter().find(is_meant).map(|(id, _)| *id).or_else(|| nearest(&plain));
    meant.filter(|id| *id != text.trim())
}

/// The id of the region whose id or name differs from a text by one letter, if there is one such
/// region. Other digits are not taken for a typing error: a region that is not listed may have them.
fn nearest(plain: &str) -> Option<&'static str> {
    /// Shorter texts are similar to too many ids.
    const LEAST: usize = 7;

    let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
    let text = letters(plain);
    if text.chars().count() < LEAST {
        return None;
    }
    let distances = REGIONS.iter().flat_map(|(id, names)| {
        let all = [id].into_iter().chain(*names);
        all.map(|name| {
            let whole = strsim::damerau_levenshtein(name, plain);
            (strsim::damerau_levenshtein(&letters(name), &text), whole, *id)
        })
    });
    let (distance, whole, id) = distances.clone().min()?;
    let is_one = |found: &(usize, usize, &str)| (found.0, found.1) == (distance, whole);
    (distance == 1 && distances.filter(is_one).count() == 1).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Region;

    #[test]
    fn names_of_cities_lead_to_ids() {
        for (text, id) in [
            ("Hangzhou", Some("cn-hangzhou")),
            ("hangzhou", Some("cn-hangzhou")),
            (" cn_Hangzhou ", Some("cn-hangzhou")),
            ("cnhangzhou", Some("cn-hangzhou")),
            ("Hong Kong", Some("cn-hongkong")),
            ("SINGAPORE", Some("ap-southeast-1")),
            ("cn-hangzou", Some("cn-hangzhou")),
            ("cn-hangzohu", Some("cn-hangzhou")),
            ("cn-beijng", Some("cn-beijing")),
            ("CN-Shanghia", Some("cn-shanghai")),
            ("ap-southest-1", Some("ap-southeast-1")),
            ("eu-centrall-1", Some("eu-central-1")),
            ("singapor", Some("ap-southeast-1")),
            // Regions that are not in the list, and nothing like those that are.
            ("ap-southeast-9", None),
            ("eu-west-2", None),
            ("cn-hangzhou-2", None),
            ("cn-shenzhen-finance-1", None),
            ("cn-beijing-finance-1", None),
            ("cn-x", None),
            ("cn-hangzhou", None),
            ("cn-private-1", None),
            ("中国", None),
            ("", None),
        ] {
            assert_eq!(meant_by(text), id, "{text}");
        }
        for (id, names) in REGIONS {
            assert!(Region::parse(id).is_ok(), "{id}");
            assert!(names.iter().all(|name| meant_by(name) == Some(id)), "{id}");
        }
    }
}
