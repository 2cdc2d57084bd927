// What other implementations make, for test/unit/tlog_*.test.ts: trees, proofs, tiles and notes by golang.org/x/mod
// v0.40.0, cosignatures and receipts by github.com/transparency-dev/formats v0.1.1. It writes test/vectors/tlog.json; the
// time of the cosignature is that of the run.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const last = 70000

var hashes []tlog.Hash

func read(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = hashes[index]
	}
	return found, nil
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func texts(list []tlog.Hash) []string {
	out := []string{}
	for _, hash := range list {
		out = append(out, base64.StdEncoding.EncodeToString(hash[:]))
	}
	return out
}

type tree struct {
	Size int64  `json:"size"`
	Root string `json:"root"`
}
type inclusion struct {
	Size  int64    `json:"size"`
	Index int64    `json:"index"`
	Path  []string `json:"path"`
}
type consistency struct {
	Older int64    `json:"older"`
	Size  int64    `json:"size"`
	Path  []string `json:"path"`
}
type tile struct {
	Path   string `json:"path"`
	Sha256 string `json:"sha256"`
}
type signed struct {
	Skey string `json:"skey"`
	Vkey string `json:"vkey"`
	Note string `json:"note"`
}
type cosigned struct {
	Skey    string `json:"skey"`
	Vkey    string `json:"vkey"`
	Note    string `json:"note"`
	Index   int64  `json:"index"`
	Receipt string `json:"receipt"`
}
type vectors struct {
	Trees       []tree        `json:"trees"`
	Inclusion   []inclusion   `json:"inclusion"`
	Consistency []consistency `json:"consistency"`
	Tiles       []tile        `json:"tiles"`
	Signed      signed        `json:"signed"`
	Cosigned    cosigned      `json:"cosigned"`
}

func main() {
	for i := range int64(last) {
		hashes = append(hashes, must(tlog.StoredHashes(i, fmt.Appendf(nil, "entry %d", i), tlog.HashReaderFunc(read)))...)
	}
	reader := tlog.HashReaderFunc(read)
	var out vectors
	sizes := []int64{1, 2, 3, 255, 256, 257, 65535, 65536, 65537, last}
	for _, size := range sizes {
		root := must(tlog.TreeHash(size, reader))
		out.Trees = append(out.Trees, tree{size, base64.StdEncoding.EncodeToString(root[:])})
		for _, index := range []int64{0, 255, 256, 65536, size / 3} {
			if index < size {
				out.Inclusion = append(out.Inclusion, inclusion{size, index, texts(must(tlog.ProveRecord(size, index, reader)))})
			}
		}
		for _, older := range sizes {
			if older <= size {
				out.Consistency = append(out.Consistency, consistency{older, size, texts(must(tlog.ProveTree(size, older, reader)))})
			}
		}
	}
	for level := 0; level < 3; level++ {
		span := int64(1) << (8 * level)
		for n := int64(0); n*256*span < last; n++ {
			width := min(256, last/span-n*256)
			if width == 0 {
				continue
			}
			t := tlog.Tile{H: 8, L: level, N: n, W: int(width)}
			data := must(tlog.ReadTileData(t, reader))
			path := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
			if width < 256 || n%100 == 0 {
				out.Tiles = append(out.Tiles, tile{path, fmt.Sprintf("%x", sha256.Sum256(data))})
			}
		}
	}
	seed := make([]byte, 32)
	for i := range seed {
		seed[i] = byte(i)
	}
	skey, vkey, err := note.GenerateKey(strings.NewReader(string(seed)), "example.com/audit")
	if err != nil {
		panic(err)
	}
	text := fmt.Sprintf("example.com/audit\n%d\n%s\n", out.Trees[len(out.Trees)-1].Size, out.Trees[len(out.Trees)-1].Root)
	out.Signed = signed{skey, vkey, string(must(note.Sign(&note.Note{Text: text}, must(note.NewSigner(skey)))))}
	wskey, wvkey, err := note.GenerateKey(strings.NewReader(strings.Repeat("w", 32)), "witness.example/w1")
	if err != nil {
		panic(err)
	}
	witness := must(fnote.NewSignerForCosignatureV1(wskey))
	opened := must(note.Open([]byte(out.Signed.Note), note.VerifierList(must(note.NewVerifier(vkey)))))
	cosignedNote := must(note.Sign(opened, witness))
	receipt := proof.TLogProof{Index: 12345, Checkpoint: cosignedNote, ExtraData: []byte("extra")}
	for _, hash := range must(tlog.ProveRecord(last, 12345, reader)) {
		receipt.Hashes = append(receipt.Hashes, hash)
	}
	out.Cosigned = cosigned{wskey, must(fnote.VKeyToCosignatureV1(wvkey)), string(cosignedNote), 12345, string(receipt.Marshal())}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.Encode(out)
}
