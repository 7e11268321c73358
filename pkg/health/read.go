package health

import (
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// These read what may be absent or of another type: custom resources hold anything.

func text(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

func number(u *unstructured.Unstructured, absent int64, path ...string) int64 {
	n, found, err := unstructured.NestedInt64(u.Object, path...)
	if !found || err != nil {
		return absent
	}
	return n
}

// items returns the elements of a list that are maps, not copied.
func items(u *unstructured.Unstructured, path ...string) []map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	list, _ := value.([]any)
	var out []map[string]any
	for _, item := range list {
		if m, is := item.(map[string]any); is {
			out = append(out, m)
		}
	}
	return out
}

type condition struct {
	status, reason, message string
	generation              int64 // observed; 0 when the condition does not say
}

func (c condition) because() string { return join(c.reason, c.message) }

func conditionOf(u *unstructured.Unstructured, kind string) condition {
	for _, m := range items(u, "status", "conditions") {
		if m["type"] != kind {
			continue
		}
		var c condition
		c.status, _ = m["status"].(string)
		c.reason, _ = m["reason"].(string)
		c.message, _ = m["message"].(string)
		c.generation, _ = m["observedGeneration"].(int64)
		return c
	}
	return condition{}
}

func join(reason, message string) string {
	if reason == "" || message == "" {
		return reason + message
	}
	return reason + ": " + message
}

func quote(s string) string { return strconv.Quote(s) }
