package receiver

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// lateListener makes connections that answer 408 when a request's header does
// not arrive in time; net/http would hang up without a word.
type lateListener struct{ net.Listener }

func (l lateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lateConn{Conn: c}, nil
}

// lateConn knows whether a header has begun and is not complete.
type lateConn struct {
	net.Conn
	begun   atomic.Bool // bytes came since the last request ended
	handled atomic.Bool // the header is complete; net/http answers from here on
}

func (c *lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.begun.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.begun.Load() && !c.handled.Swap(true) {
		c.refuse()
	}
	return n, err
}

func (c *lateConn) refuse() {
	body := answer{reason: "header took too long"}.body()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		http.StatusRequestTimeout, http.StatusText(http.StatusRequestTimeout), len(body), body)
}

// noteState is the server's ConnState hook. A connection turns active when a
// header was read, whole or not, and idle when its answer is out.
func noteState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*lateConn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.handled.Store(true)
	case http.StateIdle:
		c.begun.Store(false)
		c.handled.Store(false)
	}
}
