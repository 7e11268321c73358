package manifest

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// booleans are the plain words that YAML 1.1 adds to true and false. kubectl reads
// them so, and a manifest must not change its meaning by being applied from Git.
var booleans = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

// scalar returns nil, a bool, an int64, a float64 or a string.
func scalar(n *yaml.Node) (any, error) {
	if n.Tag == "!" { // YAML 6.9.1: not to be resolved
		return n.Value, nil
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var v bool
		err := n.Decode(&v)
		return v, hide(err)
	case "!!int", "!!float":
		return number(n)
	case "!!str":
		if v, ok := booleans[n.Value]; ok && n.Style == 0 {
			return v, nil
		}
		return n.Value, nil
	case "!!timestamp":
		return n.Value, nil
	case "!!binary":
		data, err := base64.StdEncoding.DecodeString(n.Value)
		if err != nil || !utf8.Valid(data) {
			return nil, errors.New("!!binary must be Base64 of UTF-8 text")
		}
		return string(data), nil
	}
	return nil, errors.New("the tag is not known; Kubernetes objects have none")
}

func number(n *yaml.Node) (any, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, hide(err)
	}
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		return float64(v), nil
	case float64:
		return whole(v)
	}
	return n.Value, nil
}

// whole makes 1.0 the integer that it becomes on its way through JSON.
func whole(v float64) (any, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, errors.New("not a finite number; JSON has no other")
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return int64(v), nil
	}
	return v, nil
}

// hide keeps the value out of a decoder's error.
func hide(err error) error {
	if err == nil {
		return nil
	}
	return errors.New("the value does not fit its tag")
}

func keyOf(n *yaml.Node) (string, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", errors.New("a key must be a string")
	}
	v, err := scalar(n)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	}
	return "", errors.New("a key must be a string; quote it")
}
