package fields

import (
	"strconv"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

func startsWith(path, prefix fieldpath.Path) bool {
	return len(path) >= len(prefix) && path[:len(prefix)].Equals(prefix)
}

func get(object any, path fieldpath.Path) (any, bool) {
	for _, element := range path {
		switch v := object.(type) {
		case map[string]any:
			if element.FieldName == nil {
				return nil, false
			}
			value, is := v[*element.FieldName]
			if !is {
				return nil, false
			}
			object = value
		case []any:
			i := find(v, element)
			if i < 0 {
				return nil, false
			}
			object = v[i]
		default:
			return nil, false
		}
	}
	return object, true
}

// remove takes a field or an element out. What it leaves empty stays: to be empty
// says something too (emptyDir: {}).
func remove(object map[string]any, path fieldpath.Path) {
	if len(path) == 0 {
		return
	}
	prefix, last := path[:len(path)-1], path[len(path)-1]
	switch container, _ := get(object, prefix); v := container.(type) {
	case map[string]any:
		if last.FieldName != nil {
			delete(v, *last.FieldName)
		}
	case []any:
		if i := find(v, last); i >= 0 {
			put(object, prefix, append(append([]any{}, v[:i]...), v[i+1:]...), false)
		}
	}
}

// put sets a value, making what is missing on the way. A container whose parts are
// put one by one (granular) is only made to exist.
func put(object map[string]any, path fieldpath.Path, value any, granular bool) {
	if granular {
		switch value.(type) {
		case map[string]any:
			value = map[string]any{}
		case []any:
			value = []any{}
		}
	}
	if len(path) > 0 {
		set(object, path, value, granular)
	}
}

// set returns the container with the value in it.
func set(container any, path fieldpath.Path, value any, granular bool) any {
	if len(path) == 0 {
		if granular && container != nil {
			return container
		}
		return value
	}
	element := path[0]
	if element.FieldName != nil {
		m, _ := container.(map[string]any)
		if m == nil {
			m = map[string]any{}
		}
		m[*element.FieldName] = set(m[*element.FieldName], path[1:], value, granular)
		return m
	}
	list, _ := container.([]any)
	if i := find(list, element); i >= 0 {
		list[i] = set(list[i], path[1:], value, granular)
		return list
	}
	return append(list, set(begun(element), path[1:], value, granular))
}

// begun is an element of a list with nothing but its key.
func begun(element fieldpath.PathElement) any {
	if element.Key == nil {
		return nil
	}
	m := map[string]any{}
	for _, part := range *element.Key {
		m[part.Name] = part.Value.Unstructured()
	}
	return m
}

// follow reads a pointer in a value, lists by index.
func follow(value any, p Pointer) (any, bool) {
	for _, token := range p {
		switch v := value.(type) {
		case map[string]any:
			next, is := v[token]
			if !is {
				return nil, false
			}
			value = next
		case []any:
			i, is := index(token, len(v))
			if !is {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// replace returns value with another one at the pointer, if there is anything.
func replace(value any, p Pointer, with any) any {
	if len(p) == 0 {
		return with
	}
	switch v := value.(type) {
	case map[string]any:
		v[p[0]] = replace(v[p[0]], p[1:], with)
	case []any:
		if i, is := index(p[0], len(v)); is {
			v[i] = replace(v[i], p[1:], with)
		}
	}
	return value
}

// cut returns value without what is at the pointer.
func cut(value any, p Pointer) any {
	switch v := value.(type) {
	case map[string]any:
		if len(p) == 1 {
			delete(v, p[0])
		} else if child, is := v[p[0]]; is {
			v[p[0]] = cut(child, p[1:])
		}
	case []any:
		i, err := strconv.Atoi(p[0])
		switch {
		case err != nil || i < 0 || i >= len(v):
		case len(p) == 1:
			return append(append([]any{}, v[:i]...), v[i+1:]...)
		default:
			v[i] = cut(v[i], p[1:])
		}
	}
	return value
}
