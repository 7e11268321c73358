package helm

import (
	"encoding/json"
	"path"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// checkSchemas refuses values schemas that refer to anything but themselves and the
// meta-schemas, which the library has: others it would fetch or read from the disk.
func (r *run) checkSchemas(c *chart.Chart) error {
	if len(c.Schema) > 0 {
		place := fault.Place{File: path.Join(r.sourceOf(c.Root(), c.ChartFullPath()), "values.schema.json")}
		if c.IsRoot() {
			place.File = path.Join(r.p.Path, "values.schema.json")
		}
		var schema any
		if err := json.Unmarshal(c.Schema, &schema); err != nil {
			return r.refuse(place, "parse schema: %s", unquote(err))
		}
		top, _ := schema.(map[string]any)
		id, _ := top["$id"].(string)
		if ref := foreign(schema, id); ref != "" {
			place.Field = "$ref"
			return r.refuse(place, "%q is not in this file; schemas are not fetched, copy it into $defs", ref)
		}
	}
	for _, sub := range c.Dependencies() {
		if err := r.checkSchemas(sub); err != nil {
			return err
		}
	}
	return nil
}

// foreign returns a reference that leads out of the schema, empty when there is none.
func foreign(v any, id string) string {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if ref := foreign(item, id); ref != "" {
				return ref
			}
		}
	case map[string]any:
		for key, item := range v {
			if ref, ok := item.(string); ok && isReference(key) && !local(ref, id) {
				return ref
			}
			if ref := foreign(item, id); ref != "" {
				return ref
			}
		}
	}
	return ""
}

func isReference(key string) bool {
	return key == "$ref" || key == "$schema" || key == "$dynamicRef" || key == "$recursiveRef"
}

func local(ref, id string) bool {
	document, _, _ := strings.Cut(ref, "#")
	_, rest, _ := strings.Cut(document, "://")
	return document == "" || document == strings.TrimSuffix(id, "#") || strings.HasPrefix(rest, "json-schema.org/")
}
