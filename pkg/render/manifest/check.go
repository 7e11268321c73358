package manifest

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// check refuses what has no identity or what accessors would misread: they drop
// all annotations when one value is not a string, in silence.
func check(content map[string]any, place fault.Place) error {
	for _, field := range []string{"apiVersion", "kind"} {
		if s, ok := content[field].(string); !ok || s == "" {
			return at(place, field).refuse("this is not a Kubernetes object: it has no %s", field)
		}
	}
	kind := content["kind"].(string)
	if _, err := schema.ParseGroupVersion(content["apiVersion"].(string)); err != nil || strings.Contains(kind, "/") {
		return at(place, "apiVersion").refuse("this is not a Kubernetes object: apiVersion must be <group>/<version> and kind a word")
	}
	place.Object = kind
	metadata, ok := content["metadata"].(map[string]any)
	if !ok {
		return at(place, "metadata").refuse("the object has no metadata; give it metadata.name")
	}
	return checkMetadata(metadata, place)
}

func checkMetadata(metadata map[string]any, place fault.Place) error {
	for _, field := range []string{"name", "namespace", "generateName"} {
		v, has := metadata[field]
		if s, ok := v.(string); has && v != nil && (!ok || strings.ContainsAny(s, "/%")) {
			return at(place, "metadata."+field).refuse("must be a string without / and %%; quote it")
		}
	}
	if name, _ := metadata["name"].(string); name == "" {
		if g, _ := metadata["generateName"].(string); g != "" {
			return at(place, "metadata.generateName").refuse("generated names cannot be tracked; set metadata.name")
		}
		return at(place, "metadata.name").refuse("the object has no name; set metadata.name")
	}
	place.Object += " " + metadata["name"].(string)
	for _, field := range []string{"labels", "annotations"} {
		if err := checkStrings(metadata[field], at(place, "metadata."+field)); err != nil {
			return err
		}
	}
	return nil
}

func checkStrings(v any, where spot) error {
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return where.refuse("must be a map of strings")
	}
	var bad []string
	for key, value := range m {
		if _, ok := value.(string); !ok {
			bad = append(bad, key)
		}
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		where.Field += "[" + bad[0] + "]"
		return where.refuse("the value must be a string; quote it")
	}
	return nil
}

// spot is a place that can refuse.
type spot struct{ fault.Place }

func at(place fault.Place, field string) spot {
	place.Field = field
	return spot{place}
}

func (s spot) refuse(format string, args ...any) error {
	return refuse(s.Place, format, args...)
}
