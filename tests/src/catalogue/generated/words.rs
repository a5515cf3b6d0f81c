//! Numbers from numbers, and the words that texts are made of.

/// A number that depends on all three and looks random (the splitmix64 finisher).
pub(super) const fn hash(seed: u64, salt: u64, n: u64) -> u64 {
    let mut z =
        seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ n.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub(super) fn pick<T: Copy>(list: &[T], number: u64) -> T {
    // A remainder of a list's length fits in usize.
    #[allow(clippy::cast_possible_truncation, reason = "smaller than the list")]
    let index = (number % list.len() as u64) as usize;
    list[index]
}

/// In the order of [`super::LOCALES`]: English, German, French.
pub(super) const ADJECTIVES: [[&str; 3]; 12] = [
    ["Quiet", "Leise", "Discret"],
    ["Bold", "Kühne", "Audacieux"],
    ["Everyday", "Alltägliche", "Quotidien"],
    ["Northern", "Nördliche", "Nordique"],
    ["Light", "Leichte", "Léger"],
    ["Heavy", "Schwere", "Épais"],
    ["Folding", "Faltbare", "Pliable"],
    ["Striped", "Gestreifte", "Rayé"],
    ["Washed", "Gewaschene", "Délavé"],
    ["Warm", "Wärmende", "Chaud"],
    ["Recycled", "Recycelte", "Recyclé"],
    ["Long", "Lange", "Long"],
];

/// By family, then locale.
pub(super) const NOUNS: [[&str; 3]; 15] = [
    ["jacket", "Jacke", "blouson"],
    ["shirt", "Hemd", "chemise"],
    ["dress", "Kleid", "robe"],
    ["cardigan", "Strickjacke", "gilet"],
    ["trousers", "Hose", "pantalon"],
    ["boots", "Stiefel", "bottes"],
    ["sneakers", "Turnschuhe", "baskets"],
    ["sandals", "Sandalen", "sandales"],
    ["loafers", "Mokassins", "mocassins"],
    ["clogs", "Clogs", "sabots"],
    ["belt", "Gürtel", "ceinture"],
    ["bag", "Tasche", "sac"],
    ["scarf", "Schal", "écharpe"],
    ["umbrella", "Regenschirm", "parapluie"],
    ["purse", "Geldbörse", "porte-monnaie"],
];

/// What real names end with, and what breaks CSV, HTML and naive readers.
pub(super) const TAILS: [&str; 16] = [
    "",
    "",
    "",
    "",
    "",
    " 🧥",
    " \"limited\"",
    "; second edition",
    ", with pockets",
    " & more",
    " 4'2\"",
    " <b>new</b>",
    " – Größe ß",
    "\nsecond line",
    " 👩‍👩‍👧 family pack",
    " \u{a0}tail ",
];

pub(super) const COLORS: [[&str; 4]; 12] = [
    ["red", "Red", "Rot", "Rouge"],
    ["blue", "Blue", "Blau", "Bleu"],
    ["green", "Green", "Grün", "Vert"],
    ["black", "Black", "Schwarz", "Noir"],
    ["white", "White", "Weiß", "Blanc"],
    ["yellow", "Yellow", "Gelb", "Jaune"],
    ["off_white", "Off-white", "Wollweiß", "Écru"],
    ["navy", "Navy \"dark\"", "Marineblau", ""],
    ["salt_pepper", "Salt & pepper", "", "Poivre et sel"],
    ["multi", "Multi; mixed", "Bunt", "Multicolore"],
    ["olive", "Olive 🫒", "Oliv", "Olive"],
    ["plum", "Plum", "Pflaume", "Prune"],
];

pub(super) const MATERIALS: [[&str; 4]; 8] = [
    ["cotton", "Cotton", "Baumwolle", "Coton"],
    ["wool", "Wool", "Wolle", "Laine"],
    ["leather", "Leather", "Leder", "Cuir"],
    ["linen", "Linen", "Leinen", "Lin"],
    ["canvas", "Canvas", "Segeltuch", "Toile"],
    ["silk", "Silk", "Seide", "Soie"],
    ["cork", "Cork", "Kork", ""],
    ["felt", "Felt", "", "Feutre"],
];

pub(super) const BRANDS: [[&str; 4]; 6] = [
    [
        "harbour_and_sons",
        "Harbour & Sons",
        "Harbour & Sons",
        "Harbour & Sons",
    ],
    ["oneill_test", "O'Neal's", "O'Neal's", "O'Neal's"],
    ["Zuerich7", "Zürich 7", "Zürich 7", "Zürich 7"],
    ["plain", "Plain", "", ""],
    ["two_words", "Two; Words", "Zwei; Wörter", "Deux; Mots"],
    ["noname", "", "", ""],
];

pub(super) const FEATURES: [[&str; 4]; 9] = [
    ["breathable", "Breathable", "Atmungsaktiv", "Respirant"],
    ["windproof", "Windproof", "Winddicht", "Coupe-vent"],
    ["reflective", "Reflective", "Reflektierend", "Réfléchissant"],
    ["vegan", "Vegan 🌱", "Vegan 🌱", "Végane 🌱"],
    [
        "hand_wash",
        "Hand wash, cold",
        "Handwäsche, kalt",
        "Lavage à la main, froid",
    ],
    [
        "iron_low",
        "Iron at 110 °C",
        "Bügeln bei 110 °C",
        "Repasser à 110 °C",
    ],
    ["fair", "Fair trade", "Fairer Handel", ""],
    ["gift", "Gift \"boxed\"", "", ""],
    ["outlet", "Outlet", "Outlet", "Déstockage"],
];

pub(super) const SIZES: [&str; 7] = ["xs", "s", "m", "l", "xl", "xxl", "3xl"];
