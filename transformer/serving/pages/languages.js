// Languages as the browser knows them: their names, and sentences to begin with.

// Everyday sentences, by language or by language and script.
const SENTENCES = {
  ar: ["أين المحطة؟", "أختي تقرأ كتابًا.", "إنها تمطر اليوم."],
  cs: ["Kde je nádraží?", "Moje sestra čte knihu.", "Dnes prší."],
  de: ["Wo ist der Bahnhof?", "Meine Schwester liest ein Buch.", "Heute regnet es."],
  en: ["Where is the station?", "My sister is reading a book.", "It is raining today."],
  es: ["¿Dónde está la estación?", "Mi hermana lee un libro.", "Hoy llueve."],
  fa: ["ایستگاه کجاست؟", "خواهرم کتاب می‌خواند.", "امروز باران می‌بارد."],
  fr: ["Où est la gare ?", "Ma sœur lit un livre.", "Il pleut aujourd'hui."],
  he: ["איפה התחנה?", "אחותי קוראת ספר.", "היום יורד גשם."],
  hi: ["स्टेशन कहाँ है?", "मेरी बहन किताब पढ़ रही है।", "आज बारिश हो रही है।"],
  id: ["Di mana stasiunnya?", "Kakak saya sedang membaca buku.", "Hari ini hujan."],
  it: ["Dov'è la stazione?", "Mia sorella legge un libro.", "Oggi piove."],
  ja: ["駅はどこですか。", "妹は本を読んでいます。", "今日は雨が降っています。"],
  ko: ["역이 어디에 있어요?", "제 여동생은 책을 읽고 있어요.", "오늘은 비가 와요."],
  nl: ["Waar is het station?", "Mijn zus leest een boek.", "Het regent vandaag."],
  pl: ["Gdzie jest dworzec?", "Moja siostra czyta książkę.", "Dzisiaj pada deszcz."],
  pt: ["Onde fica a estação?", "Minha irmã está lendo um livro.", "Hoje está chovendo."],
  ru: ["Где находится вокзал?", "Моя сестра читает книгу.", "Сегодня идёт дождь."],
  sv: ["Var ligger stationen?", "Min syster läser en bok.", "Det regnar idag."],
  tr: ["İstasyon nerede?", "Kız kardeşim kitap okuyor.", "Bugün yağmur yağıyor."],
  uk: ["Де знаходиться вокзал?", "Моя сестра читає книгу.", "Сьогодні йде дощ."],
  vi: ["Nhà ga ở đâu?", "Chị tôi đang đọc sách.", "Hôm nay trời mưa."],
  zh: ["车站在哪里？", "我姐姐在看书。", "今天下雨。"],
  "zh-Hant": ["車站在哪裡？", "我姐姐在看書。", "今天下雨。"],
};

// Return a code as browsers write it (zh_tw: zh-TW, deu: de), or undefined where it is none.
export function knownLanguage(code) {
  try {
    return Intl.getCanonicalLocales(String(code ?? "").replaceAll("_", "-"))[0];
  } catch {
    return undefined;
  }
}

// Return the English name of a language, or the code itself where it has none.
export function languageName(code) {
  const known = knownLanguage(code);
  return known ? new Intl.DisplayNames(["en"], { type: "language" }).of(known) : String(code ?? "");
}

// Return a few sentences in a language; of one without sentences here, what the browser itself can say in it.
export function examplesIn(code) {
  const known = knownLanguage(code);
  if (!known) return [];
  const { language, script } = new Intl.Locale(known).maximize();
  return SENTENCES[`${language}-${script}`] ?? SENTENCES[language] ?? datesIn(known);
}

function datesIn(language) {
  if (!Intl.DateTimeFormat.supportedLocalesOf([language]).length) return [];
  const weekday = new Intl.DateTimeFormat(language, { weekday: "long", timeZone: "UTC" });
  const days = [1, 2, 3].map((day) => weekday.format(Date.UTC(2024, 0, day))); // Monday, Tuesday, Wednesday
  return [
    new Intl.ListFormat(language).format(days),
    new Intl.DateTimeFormat(language, { dateStyle: "full" }).format(new Date()),
  ];
}
