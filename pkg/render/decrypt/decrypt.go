package decrypt

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// maxFile bounds encrypted files: what they hold goes into Secrets, which are
// smaller. Others may be larger.
const maxFile = 4 << 20

// Plain is a file as it is rendered.
type Plain struct {
	Data []byte
	// Secrets are the values that were encrypted, for masking errors; nil when the
	// file was not encrypted.
	Secrets []string
}

// Decrypt returns the plaintext of a file encrypted by SOPS, and any other file as it
// is. Its comments are dropped, as they may be encrypted too.
func (k Keys) Decrypt(name string, data []byte) (plain Plain, err error) {
	if k.ring == nil || !bytes.Contains(data, []byte(mark)) || !bytes.Contains(data, []byte("sops")) {
		return Plain{Data: data}, nil
	}
	defer func() {
		if r := recover(); r != nil {
			plain, err = Plain{}, refuse(name, errors.New("the parser gave up on it"))
		}
	}()
	f := formatOf(name, data)
	if len(data) > maxFile {
		return Plain{}, refuse(name, fmt.Errorf("it has %d bytes, more than the %d of an encrypted file", len(data), maxFile))
	}
	doc, ok, err := f.parse(data)
	if err != nil {
		return Plain{}, refuse(name, err)
	}
	if !ok {
		return Plain{Data: data}, nil
	}
	plain, err = k.open(doc)
	if err != nil {
		return Plain{}, refuse(name, err)
	}
	return plain, nil
}

func refuse(name string, err error) error {
	return fault.Refuse(fault.RenderFailed, fault.Place{File: name}, "decrypt SOPS file: %w", err)
}

// document is a parsed file: its trees in order, without their metadata.
type document struct {
	trees []*yaml.Node
	meta  *yaml.Node
	emit  func([]*yaml.Node) ([]byte, error)
}

func (k Keys) open(d document) (Plain, error) {
	m, err := parseMetadata(d.meta)
	if err != nil {
		return Plain{}, err
	}
	key, err := k.dataKey(m)
	if err != nil {
		return Plain{}, err
	}
	o, err := newOpener(m, key)
	if err != nil {
		return Plain{}, err
	}
	for _, tree := range d.trees {
		if err := o.walk(tree, nil, 0); err != nil {
			return Plain{}, err
		}
	}
	if err := o.verify(); err != nil {
		return Plain{}, err
	}
	data, err := d.emit(d.trees)
	if err != nil {
		return Plain{}, err
	}
	return Plain{Data: data, Secrets: o.secrets}, nil
}

// opener decrypts the values of one file in place, in the order of the file.
type opener struct {
	meta    metadata
	rules   rules
	box     box
	mac     hash.Hash
	secrets []string
}

// onlyEncrypted begins the MAC of files whose other values are not in it, so that it
// differs from the MAC of all values: the SHA-256 of "sops".
var onlyEncrypted = []byte{
	0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
	0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
}

func newOpener(m metadata, key []byte) (*opener, error) {
	r, err := m.rules()
	if err != nil {
		return nil, err
	}
	b, err := newBox(key)
	if err != nil {
		return nil, err
	}
	o := &opener{meta: m, rules: r, box: b, mac: sha512.New()}
	if m.macOnly() {
		o.mac.Write(onlyEncrypted)
	}
	return o, nil
}

// maxDepth is as deep as manifests may nest.
const maxDepth = 100

// walk decrypts the scalars below n. path are the keys of maps that lead to it:
// sequences add nothing.
func (o *opener) walk(n *yaml.Node, path []string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values are nested deeper than %d levels", maxDepth)
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
				return fmt.Errorf("line %d: SOPS knows keys that are strings only", key.Line)
			}
			if err := o.walk(n.Content[i+1], append(slices.Clip(path), key.Value), depth+1); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := o.walk(item, path, depth+1); err != nil {
				return err
			}
		}
		n.Content = slices.DeleteFunc(n.Content, isComment)
	case yaml.ScalarNode:
		return o.scalar(n, path)
	case yaml.AliasNode:
		return fmt.Errorf("line %d: SOPS writes no aliases", n.Line)
	}
	return nil
}

// scalar decrypts one value and counts it in the MAC.
func (o *opener) scalar(n *yaml.Node, path []string) error {
	value, err := decode(n)
	if err != nil || value == nil {
		return err
	}
	text, isText := value.(string)
	encrypted := o.rules.encrypted(path, text)
	if !encrypted {
		if !o.meta.macOnly() {
			o.mac.Write(macBytes(value))
		}
		return nil
	}
	if !isText {
		return fmt.Errorf("line %d: %s is not encrypted, though it should be", n.Line, shown(path))
	}
	value, err = o.box.open(text, path)
	if err != nil {
		return fmt.Errorf("line %d: %s: %w", n.Line, shown(path), err)
	}
	if _, ok := value.(comment); ok {
		n.Tag = commentTag
		return nil
	}
	o.mac.Write(macBytes(value))
	if s := string(macBytes(value)); s != "" && s != "True" && s != "False" {
		o.secrets = append(o.secrets, s)
	}
	return set(n, value)
}

// verify compares the MAC of what was read with that of the file, which is
// encrypted with the time of the last change as its context.
func (o *opener) verify() error {
	stamp, err := o.meta.stamp()
	if err != nil {
		return err
	}
	stored, err := o.box.openWith(o.meta.MAC, stamp)
	if err != nil {
		return fmt.Errorf("sops.mac: %w", err)
	}
	text, _ := stored.(string)
	if want := fmt.Sprintf("%X", o.mac.Sum(nil)); subtle.ConstantTimeCompare([]byte(text), []byte(want)) != 1 {
		return errors.New("its MAC does not match: the file was changed after it was encrypted; change it with sops edit")
	}
	return nil
}
