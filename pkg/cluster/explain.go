package cluster

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxMessage bounds what an admission webhook may write into our status.
const maxMessage = 1000

// explain says what the API server objected to, without the values it echoes:
// the field names the place, and the value stands in the source. Of a Secret
// nothing but the status and the fields is repeated, since an admission
// webhook may quote anything.
func explain(a action, s metav1.Status) string {
	if isSecret(a.id) {
		return explainSecret(a, s)
	}
	text := s.Message
	if fields := explainCauses(s); fields != "" {
		text = fields
	}
	return hint(a, s, cut(withoutTypedValues(text)))
}

func explainSecret(a action, s metav1.Status) string {
	text := strings.TrimSpace(strconv.Itoa(int(s.Code)) + " " + http.StatusText(int(s.Code)))
	if s.Code == http.StatusForbidden {
		text = "forbidden, by the rights of the account or by an admission policy"
	}
	var fields []string
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if cause.Field != "" {
				fields = append(fields, cause.Field)
			}
		}
	}
	if len(fields) > 0 {
		text += " at " + strings.Join(fields, ", ")
	}
	return hint(a, s, text+" (the message is withheld, it may quote the Secret)")
}

func hint(a action, s metav1.Status, text string) string {
	switch {
	case terminating(s):
		return "namespace " + a.id.Namespace + " is being deleted"
	case s.Code == http.StatusForbidden:
		return "as " + a.as.String() + ": " + text
	case s.Code == http.StatusNotFound && s.Details != nil && s.Details.Kind == "namespaces":
		return "namespace " + a.id.Namespace + " does not exist; add it to the source or set destination.createNamespace"
	}
	return text
}

// explainCauses joins "field: detail" of each cause; empty when there is none to tell.
func explainCauses(s metav1.Status) string {
	if s.Details == nil || s.Reason != metav1.StatusReasonInvalid {
		return ""
	}
	var out []string
	for _, cause := range s.Details.Causes {
		if cause.Field == "" || cause.Field == "<nil>" || cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			continue
		}
		detail, _, _ := strings.Cut(withoutValue(cause.Message), "\n") // a diff follows, with values
		if line := cause.Field + ": " + detail; !contains(out, line) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "; ")
}

func contains(lines []string, line string) bool {
	for _, l := range lines {
		if l == line {
			return true
		}
	}
	return false
}

// valued are the forms of k8s.io/apimachinery/pkg/util/validation/field that
// quote the value: "<form>: <value>: <detail>", or "<form>: <detail>" when the
// value is left out.
var valued = []string{"Invalid value", "Unsupported value", "Duplicate value", "Not found"}

// withoutValue cuts the value out of a cause. A value whose end cannot be told
// takes the rest of the message with it.
func withoutValue(message string) string {
	for _, form := range valued {
		rest, ok := strings.CutPrefix(message, form+": ")
		if !ok {
			continue
		}
		if detail := afterValue(rest); detail != "" {
			return detail
		}
		return strings.ToLower(form)
	}
	return message
}

var (
	bareValue = regexp.MustCompile(`^(-?[0-9][-+.0-9eE]*|true|false|null|<nil>)(: |$)`)
	// goValue is how older servers print structs: v1.LabelSelector{…}, &map[string]string{…}, []string{…}.
	goValue = regexp.MustCompile(`^[&*\[\]A-Za-z0-9_./]*[{(]`)
)

func afterValue(rest string) string {
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		return detail(rest[len(quoted):])
	}
	if strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[") {
		return afterJSON(rest)
	}
	if end := bareValue.FindStringIndex(rest); end != nil {
		return rest[end[1]:]
	}
	if goValue.MatchString(rest) || strings.HasPrefix(rest, `"`) {
		return ""
	}
	return rest // the value was left out
}

func afterJSON(rest string) string {
	decoder := json.NewDecoder(strings.NewReader(rest))
	var value json.RawMessage
	if decoder.Decode(&value) != nil {
		return ""
	}
	return detail(rest[decoder.InputOffset():])
}

// detail is what follows a value; anything else there means that the value
// does not end where it seemed to.
func detail(rest string) string {
	text, ok := strings.CutPrefix(rest, ": ")
	if !ok {
		return ""
	}
	return text
}

// typedValue is how structured-merge-diff prints what it got instead of what it wanted.
var typedValue = regexp.MustCompile(`(?s)got &?value\.[A-Za-z]+\{.*`)

func withoutTypedValues(text string) string {
	return typedValue.ReplaceAllString(text, "got another type")
}

func cut(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + " …"
}
