package decrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// mark begins every encrypted value.
const mark = "ENC[AES256_GCM,"

var sealed = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,]+),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]`)

// comment is a comment of a list, which SOPS writes as one of its values.
type comment string

const commentTag = "!sops-comment"

func isComment(n *yaml.Node) bool { return n.Tag == commentTag }

// box opens values with the data key: AES-256 in GCM, the nonce beside each value.
type box struct{ key []byte }

func newBox(key []byte) (box, error) {
	if len(key) != 32 {
		return box{}, errors.New("its data key has not 32 bytes")
	}
	return box{key}, nil
}

// open decrypts a value whose context is its path.
func (b box) open(text string, path []string) (any, error) {
	return b.openWith(text, strings.Join(path, ":")+":")
}

func (b box) openWith(text, context string) (any, error) {
	if text == "" {
		return "", nil
	}
	m := sealed.FindStringSubmatch(text)
	if m == nil {
		return nil, errors.New("the value is not encrypted, though it should be")
	}
	var parts [3][]byte // data, nonce, tag
	for i := range parts {
		var err error
		if parts[i], err = base64.StdEncoding.DecodeString(m[i+1]); err != nil {
			return nil, errors.New("the encrypted value is not Base64")
		}
	}
	block, err := aes.NewCipher(b.key)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(parts[1]))
	if err != nil {
		return nil, errors.New("the nonce of the encrypted value is not one")
	}
	plain, err := gcm.Open(nil, parts[1], append(parts[0], parts[2]...), []byte(context))
	if err != nil {
		return nil, errors.New("the value does not belong here: it was changed, moved or encrypted with another key")
	}
	return typed(string(plain), m[4])
}

// typed reads a plaintext as its type says. Its errors keep the text out.
func typed(text, kind string) (any, error) {
	var value any = text
	var err error
	switch kind {
	case "str", "bytes":
	case "int":
		value, err = strconv.ParseInt(text, 10, 64)
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	case "time":
		value, err = time.Parse(time.RFC3339Nano, text)
	case "comment":
		value = comment(text)
	default:
		err = errors.New("unknown")
	}
	if err != nil {
		return nil, fmt.Errorf("the decrypted value is no %s", kind)
	}
	return value, nil
}

// decode reads a scalar as SOPS does, nil for null.
func decode(n *yaml.Node) (any, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d: the value does not fit its tag", n.Line)
	}
	switch v := v.(type) {
	case nil, string, bool, float64, time.Time, int64:
		return v, nil
	case int:
		return int64(v), nil
	}
	return nil, fmt.Errorf("line %d: SOPS knows no such value", n.Line)
}

// macBytes is what SOPS hashes of a value.
func macBytes(value any) []byte {
	switch v := value.(type) {
	case string:
		return []byte(v)
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64)
	case bool: // as Python writes it
		if v {
			return []byte("True")
		}
		return []byte("False")
	case time.Time:
		text, err := v.MarshalText()
		if err == nil {
			return text
		}
	}
	return nil
}

// set makes n the scalar that means value, on one line and beyond misreading.
func set(n *yaml.Node, value any) error {
	switch v := value.(type) {
	case string:
		n.SetString(v)
		if n.Tag == "!!str" {
			n.Style = yaml.DoubleQuotedStyle
		}
		return nil
	case time.Time:
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: string(macBytes(v))}
		return nil
	}
	if err := n.Encode(value); err != nil {
		return errors.New("the decrypted value has no form in YAML")
	}
	return nil
}

func shown(path []string) string {
	const most = 200
	text := strings.Join(path, ".")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
