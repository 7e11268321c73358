package helm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"
	_ "time/tzdata" // a child cannot read the system's

	"github.com/Masterminds/sprig/v3"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// steady are the functions of templates whose result is another at each call, with
// what they give in a pass that draws nothing: the same for the same arguments.
var steady = template.FuncMap{
	"randAlpha":    func(n int) string { return strings.Repeat("x", max(n, 0)) },
	"randAlphaNum": func(n int) string { return strings.Repeat("x", max(n, 0)) },
	"randAscii":    func(n int) string { return strings.Repeat("x", max(n, 0)) },
	"randNumeric":  func(n int) string { return strings.Repeat("1", max(n, 0)) },
	"randBytes":    func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, max(n, 0))) },
	"randInt":      func(low, _ int) int { return low },
	"shuffle":      func(s string) string { return s },
	"uuidv4":       func() string { return "00000000-0000-4000-8000-000000000000" },

	"bcrypt":     func(s string) string { return stand("bcrypt", s) },
	"htpasswd":   func(user, password string) string { return user + ":" + stand("htpasswd", user, password) },
	"encryptAES": func(password, text string) string { return stand("encryptAES", password, text) },

	"genPrivateKey":            func(kind string) string { return stand("genPrivateKey", kind) },
	"genCA":                    standIn("genCA"),
	"genCAWithKey":             standIn("genCAWithKey"),
	"genSelfSignedCert":        standIn("genSelfSignedCert"),
	"genSelfSignedCertWithKey": standIn("genSelfSignedCertWithKey"),
	"genSignedCert":            standIn("genSignedCert"),
	"genSignedCertWithKey":     standIn("genSignedCertWithKey"),
}

// moment is when a pass that draws nothing takes place.
var moment = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// certificate is what templates get from the functions that make one.
type certificate struct{ Cert, Key string }

func standIn(function string) any {
	return func(args ...any) certificate {
		return certificate{Cert: stand(function+" certificate", args...), Key: stand(function+" key", args...)}
	}
}

// stand is a text that only the function and its arguments decide.
func stand(function string, args ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q", function, fmt.Sprint(args...)))
	return hex.EncodeToString(sum[:])
}

// functions replaces those of Helm that make a render impure.
func (r *run) functions() template.FuncMap {
	out := template.FuncMap{
		"keys": sortedKeys, "values": sortedValues,
		"now":            r.now,
		"ago":            func(v any) string { return r.now().Sub(r.timeOf(v)).Round(time.Second).String() },
		"date":           func(layout string, v any) string { return format(layout, r.timeOf(v), "Local") },
		"dateInZone":     func(layout string, v any, zone string) string { return format(layout, r.timeOf(v), zone) },
		"htmlDate":       func(v any) string { return format(time.DateOnly, r.timeOf(v), "Local") },
		"htmlDateInZone": func(v any, zone string) string { return format(time.DateOnly, r.timeOf(v), zone) },
	}
	out["date_in_zone"] = out["dateInZone"]
	if r.steady {
		maps.Copy(out, steady)
		out["buildCustomCert"] = standIn("buildCustomCert") // the certificate may be a stand-in
		return out
	}
	all := sprig.TxtFuncMap()
	for name := range steady {
		out[name] = r.noting(all[name])
	}
	return out
}

// noting wraps a function so that its call is on record.
func (r *run) noting(function any) any {
	f := reflect.ValueOf(function)
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		r.drawn = true
		if f.Type().IsVariadic() {
			return f.CallSlice(args)
		}
		return f.Call(args)
	}).Interface()
}

func (r *run) now() time.Time {
	if r.steady {
		return moment
	}
	r.drawn = true
	return time.Now()
}

// timeOf reads a time as sprig does: what it does not know is now.
func (r *run) timeOf(v any) time.Time {
	switch v := v.(type) {
	case time.Time:
		return v
	case *time.Time:
		return *v
	case int64:
		return time.Unix(v, 0)
	case int:
		return time.Unix(int64(v), 0)
	case int32:
		return time.Unix(int64(v), 0)
	}
	return r.now()
}

func format(layout string, t time.Time, zone string) string {
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC
	}
	return t.In(location).Format(layout)
}

// sortedKeys and sortedValues give in order what sprig gives in any.
func sortedKeys(dicts ...map[string]any) []string {
	out := []string{}
	for _, dict := range dicts {
		out = append(out, slices.Sorted(maps.Keys(dict))...)
	}
	return out
}

func sortedValues(dict map[string]any) []any {
	out := []any{}
	for _, key := range slices.Sorted(maps.Keys(dict)) {
		out = append(out, dict[key])
	}
	return out
}

// standing renders again without drawing anything. A chart that then fails, perhaps
// because it looks into a certificate, has no standing content.
func (r *run) standing() map[object.ID]json.RawMessage {
	r.steady = true
	objects, err := r.pass()
	if err != nil {
		return nil
	}
	out := make(map[object.ID]json.RawMessage, len(objects))
	for _, o := range objects {
		if content, err := o.JSON(); err == nil {
			out[o.ID()] = content
		}
	}
	return out
}
