package main

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// span is a part of a text that was found.
type span struct {
	start, end int
	// plain is the part without what may differ in how it is written, so that the same is masked the same.
	plain string
}

// detector finds personal data in texts, or by the name of the field.
type detector struct {
	// find gives the parts of a text.
	find func(text string) []span
	// inNumbers tells whether JSON numbers are looked at too.
	inNumbers bool
	// format is for parts that stay valid: check digits, the reserved domain.
	format func(keyed *keyed, scope, text, plain string) string
	// names are those of fields whose whole value is meant.
	names map[string]bool
}

const personName = "person-name"

var detectors = map[string]*detector{
	"email":    {find: findEmails, format: formatEmail},
	"phone":    {find: findPhones, format: formatPhone},
	"iban":     {find: findIBANs, format: formatIBAN},
	"card":     {find: findCards, format: formatCard, inNumbers: true},
	"ip":       {find: findIPs, format: formatIP},
	personName: personNames(usualNames),
}

// usualNames are names of fields with names of persons. `name` alone is not: products have one too.
var usualNames = []string{
	"first-name", "last-name", "middle-name", "given-name", "family-name", "full-name", "maiden-name", "birth-name", "surname",
	"forename", "contact-name", "contact-person", "customer-name", "recipient-name", "account-holder", "card-holder",
	"card-holder-name", "account-holder-name", "vorname", "nachname", "familienname", "geburtsname", "ansprechpartner",
	"kontoinhaber", "karteninhaber", "empfaenger-name", "prenom", "prénom", "nom-de-famille", "apellido", "apellidos", "cognome",
	"voornaam", "achternaam",
}

func personNames(names []string) *detector {
	made := &detector{names: map[string]bool{}}
	for _, name := range names {
		made.names[plainName(name)] = true
	}
	return made
}

// plainName is the same for firstName, first_name, FIRST-NAME and "First name".
func plainName(name string) string {
	return strings.Map(func(sign rune) rune {
		if sign == '_' || sign == '-' || sign == ' ' || sign == '.' {
			return -1
		}
		return unicode.ToLower(sign)
	}, name)
}

func isDigit(sign byte) bool { return sign >= '0' && sign <= '9' }

func isASCIILetter(sign byte) bool { return sign|0x20 >= 'a' && sign|0x20 <= 'z' }

// isWord tells what would make a part the middle of a longer word.
func isWord(sign rune) bool { return unicode.IsLetter(sign) || unicode.IsDigit(sign) }

func wordBefore(text string, at int) bool {
	sign, _ := utf8.DecodeLastRuneInString(text[:at])
	return at > 0 && isWord(sign)
}

func wordBehind(text string, at int) bool {
	sign, _ := utf8.DecodeRuneInString(text[at:])
	return at < len(text) && isWord(sign)
}

func findEmails(text string) (found []span) {
	from := 0
	for {
		at := strings.IndexByte(text[from:], '@')
		if at < 0 {
			return found
		}
		at += from
		start, end := localPart(text, from, at), domain(text, at+1)
		from = at + 1
		if start < at && end > 0 {
			found = append(found, span{start, end, strings.ToLower(text[start:end])})
			from = end
		}
	}
}

// localPart gives where the part before the @ begins.
func localPart(text string, least, at int) int {
	start := at
	for start > least {
		sign, size := utf8.DecodeLastRuneInString(text[least:start])
		if !isWord(sign) && !strings.ContainsRune("._%+-'", sign) {
			break
		}
		start -= size
	}
	// What stands around an address in a text is none of it.
	return start + len(text[start:at]) - len(strings.TrimLeft(text[start:at], "'.%+-"))
}

// domain gives where the domain that begins here ends, or 0.
func domain(text string, start int) int {
	end := start
	for end < len(text) {
		sign, size := utf8.DecodeRuneInString(text[end:])
		if !isWord(sign) && sign != '.' && sign != '-' {
			break
		}
		end += size
	}
	name := strings.TrimRight(text[start:end], ".-")
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 || strings.Contains(name, "..") || utf8.RuneCountInString(name[dot+1:]) < 2 {
		return 0
	}
	if strings.ContainsFunc(name[dot+1:], unicode.IsDigit) {
		return 0
	}
	return start + len(name)
}

// formatEmail gives an address that nobody can have: .example is reserved.
func formatEmail(keyed *keyed, scope, _, plain string) string {
	at := strings.IndexByte(plain, '@')
	first := keyed.inFormat(scope, plain[:at], plain)
	dot := strings.LastIndexByte(plain, '.')
	return first + "@" + keyed.inFormat(scope, strings.ReplaceAll(plain[at+1:dot], ".", "-"), plain[at:]) + ".example"
}

// lengths of IBANs by their country.
var lengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21,
	"CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18,
	"FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23,
	"IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
	"MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28,
	"PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
	"SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

func findIBANs(text string) (found []span) {
	for at := 0; at+4 <= len(text); at++ {
		if !isASCIILetter(text[at]) || !isASCIILetter(text[at+1]) || !isDigit(text[at+2]) || !isDigit(text[at+3]) || wordBefore(text, at) {
			continue
		}
		length := lengths[strings.ToUpper(text[at:at+2])]
		end, plain := alphanumerics(text, at, length)
		if length > 0 && len(plain) == length && !wordBehind(text, end) && mod97(plain[4:]+plain[:4]) == 1 {
			found = append(found, span{at, end, plain})
			at = end - 1
		}
	}
	return found
}

// alphanumerics takes so many letters and digits, between which one space or dash may stand, in capital letters.
func alphanumerics(text string, at, count int) (end int, plain string) {
	var taken []byte
	for end = at; at < len(text) && len(taken) < count; at++ {
		switch sign := text[at]; {
		case isDigit(sign):
			taken, end = append(taken, sign), at+1
		case isASCIILetter(sign):
			taken, end = append(taken, sign&^0x20), at+1
		case (sign != ' ' && sign != '-') || end != at:
			return end, string(taken)
		}
	}
	return end, string(taken)
}

// mod97 is the remainder of a number in which letters stand for 10 to 35.
func mod97(text string) (rest int) {
	for i := range len(text) {
		if isDigit(text[i]) {
			rest = (rest*10 + int(text[i]-'0')) % 97
		} else {
			rest = (rest*100 + int(text[i]-'A') + 10) % 97
		}
	}
	return rest
}

// formatIBAN keeps the country and gives check digits that fit.
func formatIBAN(keyed *keyed, scope, text, plain string) string {
	account := strings.ToUpper(keyed.inFormat(scope, plain[4:], plain))
	check := 98 - mod97(account+plain[:2]+"00")
	whole := plain[:2] + string([]byte{'0' + byte(check/10), '0' + byte(check%10)}) + account
	return spread(text, whole)
}

// spread puts signs where the letters and digits of a text are.
func spread(text, signs string) string {
	masked, next := []byte(text), 0
	for i, sign := range masked {
		if (isDigit(sign) || isASCIILetter(sign)) && next < len(signs) {
			masked[i] = signs[next]
			next++
		}
	}
	return string(masked)
}

// group is a run of digits.
type group struct{ start, end int }

// mostDigits is more than any number has that is looked for.
const mostDigits = 20

// groups gives the runs of digits from here on that at most `most` signs of `between` separate, as far as a number could reach.
func groups(text string, at, most int, between string) (all []group) {
	count := 0
	for at < len(text) && isDigit(text[at]) && count < mostDigits {
		start := at
		for at < len(text) && isDigit(text[at]) && count < mostDigits {
			at++
			count++
		}
		all = append(all, group{start, at})
		for gap := 0; gap < most && at < len(text) && strings.IndexByte(between, text[at]) >= 0; gap++ {
			at++
		}
	}
	return all
}

func digits(text string, of []group) string {
	var room [mostDigits]byte
	all := room[:0]
	for _, group := range of {
		all = append(all, text[group.start:group.end]...)
	}
	return string(all)
}

func findCards(text string) (found []span) {
	for at := 0; at < len(text); at++ {
		if !isDigit(text[at]) || at > 0 && isDigit(text[at-1]) {
			continue
		}
		all := groups(text, at, 1, " -")
		if one, ok := card(text, all); ok && !wordBefore(text, at) {
			found = append(found, one)
			at = one.end - 1
		}
	}
	return found
}

// card looks for the longest number that begins with the first group: an expiry date may stand behind it.
func card(text string, all []group) (span, bool) {
	number := digits(text, all)
	for last := len(all); last > 0; last-- {
		end := all[last-1].end
		if last < len(all) {
			number = number[:len(number)-all[last].len()]
		}
		if len(number) >= 13 && len(number) <= 19 && isCard(number) && !wordBehind(text, end) {
			return span{all[0].start, end, number}, true
		}
	}
	return span{}, false
}

func isCard(number string) bool {
	issuer := number[0] >= '2' && number[0] <= '6'
	return issuer && strings.Trim(number, number[:1]) != "" && luhn(number) == 0
}

// luhn is 0 for a number whose last digit fits.
func luhn(number string) (rest int) {
	for i := range len(number) {
		digit := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
			if digit > 9 {
				digit -= 9
			}
		}
		rest += digit
	}
	return rest % 10
}

// formatCard gives a check digit that fits.
func formatCard(keyed *keyed, scope, text, plain string) string {
	number := keyed.inFormat(scope, plain[:len(plain)-1], plain)
	check := (10 - luhn(number+"0")) % 10
	return spread(text, number+string([]byte{'0' + byte(check)}))
}

func findPhones(text string) (found []span) {
	for at := 0; at < len(text); at++ {
		if text[at] != '+' && text[at] != '(' && text[at] != '0' || wordBefore(text, at) {
			continue
		}
		if one, ok := phone(text, at); ok {
			found = append(found, one)
			at = one.end - 1
		}
	}
	return found
}

// phone tells whether a number begins here: an international one, or one with an area code. What has neither a plus nor
// anything that separates the area code is not taken for one: articles have such numbers too.
func phone(text string, at int) (span, bool) {
	first := at
	for first < len(text) && (text[first] == '+' || text[first] == '(') && first-at < 2 {
		first++
	}
	all := groups(text, first, 3, " -./()")
	number := digits(text, all)
	for last := len(all); last > 0; last-- {
		end := all[last-1].end
		if last < len(all) {
			number = number[:len(number)-all[last].len()]
		}
		if wordBehind(text, end) {
			continue
		}
		if text[at] == '+' && isBetween(len(number), 8, 15) && number[0] != '0' {
			return span{at, end, "+" + number}, true
		}
		if text[at] == '+' || number[0] != '0' {
			continue
		}
		if last == 1 || isDate(all[:last]) {
			continue
		}
		if abroad, ok := strings.CutPrefix(number, "00"); ok {
			if isBetween(len(abroad), 8, 15) && abroad[0] != '0' {
				return span{at, end, "+" + abroad}, true
			}
		} else if least := leastDigits[min(all[0].len(), 7)]; least > 0 && isBetween(len(number), least, 13) {
			return span{at, end, number}, true
		}
	}
	return span{}, false
}

func (g group) len() int { return g.end - g.start }

func isBetween(count, least, most int) bool { return count >= least && count <= most }

// leastDigits of a number at home by those of its area code.
var leastDigits = [8]int{2: 9, 3: 7, 4: 7, 5: 7, 6: 8}

// isDate tells 01.02.2026, maybe with a time behind it, from a telephone number.
func isDate(all []group) bool {
	if len(all) < 3 || all[0].len() != 2 || all[1].len() != 2 {
		return false
	}
	return all[2].len() == 4 || len(all) == 3 && all[2].len() == 2
}

// formatPhone keeps what tells the kind of number.
func formatPhone(keyed *keyed, scope, text, plain string) string {
	start := 0
	for start < len(text) && strings.IndexByte("+(0", text[start]) >= 0 {
		start++
	}
	return text[:start] + keyed.inFormat(scope, text[start:], plain)
}

func findIPs(text string) (found []span) {
	const signs = "0123456789abcdefABCDEF:."
	for at := 0; at < len(text); at++ {
		if strings.IndexByte(signs, text[at]) < 0 || wordBefore(text, at) {
			continue
		}
		end := at
		for end < len(text) && strings.IndexByte(signs, text[end]) >= 0 {
			end++
		}
		if one, ok := address(text, at, end); ok {
			found = append(found, one)
		}
		at = end
	}
	return found
}

// address tells whether this is one, maybe with a port, or with what ends a sentence.
func address(text string, at, end int) (span, bool) {
	if wordBehind(text, end) {
		return span{}, false
	}
	whole := strings.TrimRight(text[at:end], ".")
	for _, part := range []string{whole, strings.TrimRight(whole, ":"), withoutPort(whole)} {
		// Not `::` alone, and nothing of digits without a point or colon.
		if len(part) < 3 || !strings.ContainsAny(part, "0123456789abcdefABCDEF") {
			continue
		}
		if parsed, err := netip.ParseAddr(part); err == nil {
			return span{at, at + len(part), parsed.String()}, true
		}
	}
	return span{}, false
}

func withoutPort(text string) string {
	if before, _, ok := strings.Cut(text, ":"); ok && strings.Contains(before, ".") {
		return before
	}
	return ""
}

// formatIP gives an address of the same kind.
func formatIP(keyed *keyed, scope, text, plain string) string {
	dice := dice{keyed: keyed, scope: scope, text: plain}
	if !strings.Contains(text, ":") {
		var parts []string
		for range 4 {
			parts = append(parts, decimal(1+dice.below(254)))
		}
		return strings.Join(parts, ".")
	}
	const hex = "0123456789abcdef"
	masked := []byte(plain)
	for i, sign := range masked {
		if sign != ':' && sign != '.' {
			masked[i] = hex[dice.below(16)]
		}
	}
	return string(masked)
}

func decimal(number byte) string {
	var text []byte
	for ; number > 0; number /= 10 {
		text = append(text, '0'+number%10)
	}
	slices.Reverse(text)
	return string(text)
}
