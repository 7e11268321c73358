package generate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	kjson "sigs.k8s.io/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// element is one set of parameters and where it comes from.
type element struct {
	place  string
	values map[string]any
}

// reader carries out generators.
type reader struct {
	ctx     context.Context
	in      Input
	trees   map[Source]Tree
	sources []v1alpha1.SetSource
	left    *budget
}

func (r *reader) elements() ([]element, error) {
	var all []element
	for i, g := range r.in.Set.Spec.Generators {
		place := fmt.Sprintf("spec.generators[%d]", i)
		if g.Matrix != nil && g.PlainGenerator != (v1alpha1.PlainGenerator{}) {
			return nil, r.notOne(place)
		}
		var yielded []element
		var err error
		if g.Matrix != nil {
			yielded, err = r.matrix(place+".matrix", g.Matrix)
		} else {
			yielded, err = r.plain(place, g.PlainGenerator)
		}
		if err != nil {
			return nil, err
		}
		if all = append(all, yielded...); len(all) > maxApplications {
			return nil, r.tooMany(place)
		}
	}
	return all, nil
}

func (r *reader) tooMany(place string) error {
	return r.refuse(place, "the set makes more than %d Applications; split it", maxApplications)
}

func (r *reader) refuse(place, format string, args ...any) error {
	return fault.Refuse(fault.GenerateFailed, placeOf(r.in.Set, place), format, args...)
}

func (r *reader) notOne(place string) error {
	return r.refuse(place, "exactly one of list, gitDirectories, gitFiles, clusters and matrix must be given")
}

func (r *reader) plain(place string, g v1alpha1.PlainGenerator) ([]element, error) {
	given := 0
	for _, is := range []bool{g.List != nil, g.GitDirectories != nil, g.GitFiles != nil, g.Clusters != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, r.notOne(place)
	case g.List != nil:
		return r.list(place+".list", g.List)
	case g.GitDirectories != nil:
		return r.directories(place+".gitDirectories", g.GitDirectories)
	case g.GitFiles != nil:
		return r.files(place+".gitFiles", g.GitFiles)
	}
	return r.cluster(place+".clusters", g.Clusters), nil
}

func (r *reader) list(place string, g *v1alpha1.ListGenerator) ([]element, error) {
	var all []element
	for i, raw := range g.Elements {
		at := fmt.Sprintf("%s.elements[%d]", place, i)
		values, err := mapping(raw.Raw)
		if err != nil {
			return nil, r.refuse(at, "%w", err)
		}
		all = append(all, element{at, values})
	}
	return all, nil
}

// mapping reads JSON parameters. Null is no value: its use is that of a missing key.
func mapping(raw []byte) (map[string]any, error) {
	var v any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &v); err != nil {
		return nil, err
	}
	values, ok := withoutNull(v).(map[string]any)
	if !ok {
		return nil, errors.New("want a mapping of parameters")
	}
	return values, nil
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, inner any) bool { return inner == nil })
		for k, inner := range v {
			v[k] = withoutNull(inner)
		}
	case []any:
		v = slices.DeleteFunc(v, func(inner any) bool { return inner == nil })
		for i, inner := range v {
			v[i] = withoutNull(inner)
		}
		return v
	}
	return v
}

// cluster yields this cluster when it has all labels of the selector.
func (r *reader) cluster(place string, g *v1alpha1.ClustersGenerator) []element {
	labels := map[string]any{}
	for k, v := range r.in.Cluster.Labels {
		labels[k] = v
	}
	for k, want := range g.Selector {
		if have, ok := labels[k]; !ok || have != want {
			return nil
		}
	}
	return []element{{place, map[string]any{"cluster": map[string]any{"name": r.in.Cluster.Name, "labels": labels}}}}
}

// matrix pairs each element of the first generator with those of the second, whose
// strings may use the parameters of the first.
func (r *reader) matrix(place string, g *v1alpha1.MatrixGenerator) ([]element, error) {
	if len(g.Generators) != 2 {
		return nil, r.refuse(place, "want two generators, got %d", len(g.Generators))
	}
	firstPlace, secondPlace := place+".generators[0]", place+".generators[1]"
	first, err := r.plain(firstPlace, g.Generators[0].PlainGenerator)
	if err != nil {
		return nil, err
	}
	var all []element
	for _, one := range first {
		filled, err := r.fill(secondPlace, g.Generators[1].PlainGenerator, one)
		if err != nil {
			return nil, err
		}
		second, err := r.plain(secondPlace, filled)
		if err != nil {
			return nil, err
		}
		for _, other := range second {
			pair, err := merge(one, other)
			if err != nil {
				return nil, r.refuse(place, "%w", err)
			}
			if all = append(all, pair); len(all) > maxApplications {
				return nil, r.tooMany(place)
			}
		}
	}
	return all, nil
}

func merge(a, b element) (element, error) {
	values := maps.Clone(a.values)
	for k, v := range b.values {
		if _, there := values[k]; there {
			return element{}, fmt.Errorf("%s and %s both give the parameter %q; rename one", a.place, b.place, k)
		}
		values[k] = v
	}
	return element{a.place + " x " + b.place, values}, nil
}

// fill carries out the templates in the strings of a generator.
func (r *reader) fill(place string, g v1alpha1.PlainGenerator, e element) (v1alpha1.PlainGenerator, error) {
	raw, err := json.Marshal(g)
	if err != nil {
		return g, r.refuse(place, "%w", err)
	}
	var content map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &content); err != nil {
		return g, r.refuse(place, "%w", err)
	}
	if source, ok := sourceOf(g); ok && source.Secret != "" && templated(source.Repo) {
		return g, r.refuse(place, "a repo that is a template cannot be given a secretRef")
	}
	t := templates{ctx: r.ctx, values: e.values, left: r.left}
	filled, err := t.each(place, content)
	if err != nil {
		return g, fault.Refuse(fault.GenerateFailed, placeOf(r.in.Set, ""), "%w (with %s)", err, e.place)
	}
	if raw, err = json.Marshal(filled); err != nil {
		return g, r.refuse(place, "%w", err)
	}
	var out v1alpha1.PlainGenerator
	if err := json.Unmarshal(raw, &out); err != nil {
		return g, r.refuse(place, "%w", err)
	}
	return out, nil
}
