package home

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// New ports come from below the range that Linux hands to outgoing connections (32768 and up). A port from
// inside it could go to somebody's outgoing connection while the server is down, or to a client that connects
// to itself, and the restart would fail.
const (
	lowestPort  = 20000
	highestPort = 29999
)

// Listen binds the port of the last start, or a free one on the first, which it remembers. The listener is
// handed on open, so that no other instance can take the port between the choice and the use.
func (h *Home) Listen(patience time.Duration) (net.Listener, error) {
	port, err := h.rememberedPort()
	if errors.Is(err, fs.ErrNotExist) {
		return h.firstPort()
	}
	if err != nil {
		return nil, err
	}
	var ln net.Listener
	err = retry(patience, func() (err error) {
		ln, err = bind(port)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the port of the last start is taken (removing %s picks a new one): %w", h.Path("port"), err)
	}
	return ln, nil
}

func (h *Home) rememberedPort() (int, error) {
	text, err := os.ReadFile(h.Path("port"))
	if err != nil {
		return 0, err
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("%s holds no port but %q", h.Path("port"), text)
	}
	return port, nil
}

func (h *Home) firstPort() (net.Listener, error) {
	var last error
	for range 100 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		ln, err := bind(port)
		if err != nil {
			last = err
			continue
		}
		return ln, h.Write("port", []byte(strconv.Itoa(port)+"\n"), 0o600)
	}
	return nil, fmt.Errorf("find a free port: %w", last)
}

func bind(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
