//! Ids of the public regions, for hints only: a region that is not here is as good.

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

/// The id of the public region that a text which is none may mean: `Hangzhou`, `cn_hangzhou`,
/// `CN-Beijing`, `Hong Kong`, `tokyo`.
pub(crate) fn meant_by(text: &str) -> Option<&'static str> {
    let plain = text.trim().to_lowercase().replace(['_', ' '], "-");
    let is_meant = |(id, names): &&(&str, &[&str])| {
        *id == plain || names.contains(&&*plain) || id.replace('-', "") == plain
    };
    REGIONS.iter().find(is_meant).map(|(id, _)| *id).filter(|id| *id != text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Region;

    #[test]
    fn names_of_cities_lead_to_ids() {
        for (text, id) in [
            ("Hangzhou", Some("cn-hangzhou")),
            ("hangzhou", Some("cn-hangzhou")),
            (" cn_Hangzhou ", Some("cn-hangzhou")),
            ("cnhangzhou", Some("cn-hangzhou")),
            ("Hong Kong", Some("cn-hongkong")),
            ("SINGAPORE", Some("ap-southeast-1")),
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
