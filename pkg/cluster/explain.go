package cluster

import (
	"bytes"
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
		if cause.Field == "" || cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			continue
		}
		if line := cause.Field + ": " + withoutValue(cause.Message); !contains(out, line) {
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
// quote the value: "<form>: <value>: <detail>".
var valued = []string{"Invalid value", "Unsupported value", "Duplicate value", "Not found", "Too long"}

// withoutValue cuts the value out of a cause. A value whose end cannot be told
// takes the rest of the message with it.
func withoutValue(message string) string {
	for _, form := range valued {
		rest, ok := strings.CutPrefix(message, form+": ")
		if !ok {
			continue
		}
		if detail, ok := afterValue(rest); ok && detail != "" {
			return detail
		}
		return strings.ToLower(form)
	}
	return message
}

var bareValue = regexp.MustCompile(`^[-+.0-9A-Za-z_]*(: |$)`)

func afterValue(rest string) (string, bool) {
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		return strings.CutPrefix(rest[len(quoted):], ": ")
	}
	if strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[") {
		return afterJSON(rest)
	}
	if end := bareValue.FindStringIndex(rest); end != nil {
		return rest[end[1]:], true
	}
	return "", false
}

func afterJSON(rest string) (string, bool) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(rest)))
	var value json.RawMessage
	if decoder.Decode(&value) != nil {
		return "", false
	}
	return strings.CutPrefix(rest[decoder.InputOffset():], ": ")
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
