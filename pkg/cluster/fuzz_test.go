package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// FuzzWithoutValue: no value of any shape outlives its message.
func FuzzWithoutValue(f *testing.F) {
	f.Add("hunter2", "must not: do")
	f.Add(`a": b: "c`, "")
	f.Add("{: [", ": ")
	f.Fuzz(func(t *testing.T, secret, detail string) {
		const mark = "hunter2hunter2"
		if strings.Contains(detail, mark) {
			return
		}
		secret += mark
		for _, value := range []any{secret, map[string]string{"k": secret}, []string{secret}, struct{ V string }{secret}, &secret} {
			for _, e := range []*field.Error{
				field.Invalid(nil, value, detail), field.NotSupported(nil, secret, []string{"a"}),
				field.Duplicate(nil, value), field.NotFound(nil, value),
			} {
				if got := withoutValue(e.ErrorBody()); strings.Contains(got, mark) {
					t.Errorf("%q became %q", e.ErrorBody(), got)
				}
			}
		}
	})
}

// FuzzCheck: whatever a cluster publishes and a source holds, the check ends.
func FuzzCheck(f *testing.F) {
	f.Add(`{"K":{"type":"object","properties":{"metadata":{},"a":{"$ref":"#/components/schemas/K"}},"x-kubernetes-group-version-kind":[{"group":"","version":"v1","kind":"K"}]}}`,
		`{"metadata":{},"a":{"a":{"b":1}}}`)
	f.Add(`{"K":{"properties":{"metadata":{}},"anyOf":[{"$ref":"#/components/schemas/K"},{"allOf":[{"$ref":"#/components/schemas/K"}]}],"x-kubernetes-group-version-kind":[{"version":"v1","kind":"K"}]}}`,
		`{"metadata":[1,2.5,null,true]}`)
	f.Fuzz(func(t *testing.T, published, source string) {
		var schemas map[string]*openAPI
		if json.Unmarshal([]byte(published), &schemas) != nil {
			return
		}
		var value any
		if decode([]byte(source), &value) != nil {
			return
		}
		for _, n := range compile(schema.GroupVersion{Version: "v1"}, schemas) {
			var c checker
			c.check("", n, value)
			if len(c.problems) > maxProblems {
				t.Errorf("%d problems", len(c.problems))
			}
		}
	})
}
