"""Prime numbers, and Goldbach's conjecture about them."""


def primes_below(limit: int) -> list[int]:
    """All primes smaller than ``limit``, by the sieve of Eratosthenes."""
    is_prime = bytearray([1]) * limit
    is_prime[:2] = bytes(min(limit, 2))
    for number in range(2, int(limit**0.5) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if is_prime[number]]


def goldbach(even: int, primes: set[int]) -> tuple[int, int] | None:
    """Two primes whose sum is ``even``, the smaller one first and as small as possible."""
    for smaller in sorted(primes):
        if smaller > even // 2:
            return None
        if even - smaller in primes:
            return smaller, even - smaller
    return None
