// One log of an archive, verified by golang.org/x/mod v0.40.0 and nothing of ours: note, root from entry bytes, every
// tile. To see that others accept what npm run verify accepts, and refuse what it refuses:
//
//	go run archive_verify.go <folder of the log> <vkey under the log's origin>
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := verify(os.Args[1], os.Args[2]); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}

func verify(folder, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return fmt.Errorf("a checkpoint of %q", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return err
	}

	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	for n := int64(0); n*256 < size; n++ {
		width := min(256, size-n*256)
		bundle, err := read(folder, "entries", n, width)
		if err != nil {
			return err
		}
		for i := int64(0); i < width; i++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("bundle %d is cut", n)
			}
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			stored, err := tlog.StoredHashes(n*256+i, bundle[2:length], reader)
			if err != nil {
				return err
			}
			hashes = append(hashes, stored...)
			bundle = bundle[length:]
		}
	}
	if size > 0 {
		tree, err := tlog.TreeHash(size, reader)
		if err != nil {
			return err
		}
		if !bytes.Equal(tree[:], root) {
			return fmt.Errorf("the entries have another root")
		}
	}
	span := int64(1)
	for level := 0; span <= size; level, span = level+1, span*256 {
		for n := int64(0); n*256*span < size; n++ {
			width := min(256, size/span-n*256)
			if width <= 0 {
				continue
			}
			wanted, err := tlog.ReadTileData(tlog.Tile{H: 8, L: level, N: n, W: int(width)}, reader)
			if err != nil {
				return err
			}
			found, err := read(folder, strconv.Itoa(level), n, width)
			if err != nil {
				return err
			}
			if !bytes.Equal(found[:min(len(found), len(wanted))], wanted) {
				return fmt.Errorf("tile %d/%d is not what the entries hash to", level, n)
			}
		}
	}
	return nil
}

func read(folder, level string, n, width int64) ([]byte, error) {
	path := fmt.Sprintf("%03d", n%1000)
	for rest := n / 1000; rest > 0; rest /= 1000 {
		path = fmt.Sprintf("x%03d/%s", rest%1000, path)
	}
	if width < 256 {
		if found, err := os.ReadFile(filepath.Join(folder, "tile", level, fmt.Sprintf("%s.p/%d", path, width))); err == nil {
			return found, nil
		}
	}
	return os.ReadFile(filepath.Join(folder, "tile", level, path))
}
