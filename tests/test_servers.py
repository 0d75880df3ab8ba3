"""The servers that other tests run on answer, are refused with reasons, and end with their owner."""

import asyncpg


async def test_postgres_url_admits_a_user_who_may_create_databases(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user")
    finally:
        await connection.close()


def test_rabbit(rabbitmq_url: str) -> None:
    assert rabbitmq_url
