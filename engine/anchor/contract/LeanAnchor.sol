// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// Heads of append-only logs, each the end of a chain of hashes. The history is in the events: every one names the
/// block of the one before it, so that it can be read backwards, one block at a time.
///
/// Whoever anchors presents the link that the new one follows from: sent twice, or sent again after a re-organisation
/// of the chain, the same anchor enters once. There is no owner to change, no upgrade, and no ether to hold.
contract LeanAnchor {
    struct Head {
        bytes32 link; // keccak256(abi.encode(previous link, log, seq, size, root))
        uint64 size; // entries of the log that the anchored root covers
        uint64 seq; // anchors so far
        uint64 blockNumber; // of the newest
    }

    error NotOperator(address sender);
    error WrongPrevious(bytes32 have, bytes32 given);
    error SizeNotGrowing(uint64 have, uint64 given);

    event Anchored(
        bytes32 indexed log, uint64 indexed seq, uint64 size, bytes32 root, bytes32 previous, uint64 previousBlock
    );

    address public immutable operator;
    mapping(bytes32 => Head) public heads;

    constructor(address operator_) {
        operator = operator_;
    }

    function anchor(bytes32 log, uint64 size, bytes32 root, bytes32 previous) external {
        if (msg.sender != operator) revert NotOperator(msg.sender);
        Head memory head = heads[log];
        if (head.link != previous) revert WrongPrevious(head.link, previous);
        if (size <= head.size) revert SizeNotGrowing(head.size, size);
        uint64 seq = head.seq + 1;
        bytes32 link = keccak256(abi.encode(previous, log, seq, size, root));
        heads[log] = Head(link, size, seq, uint64(block.number));
        emit Anchored(log, seq, size, root, previous, head.blockNumber);
    }
}
